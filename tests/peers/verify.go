// Verify a log in a folder with Go's own packages alone: go run verify.go FOLDER VKEY [OLDER ...]
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// folder reads tiles: Go writes the height into a path, tlog-tiles does not.
type folder string

func (f folder) Height() int                        { return height }
func (f folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func open(path string, key note.Verifier) tlog.Tree {
	data, err := os.ReadFile(path)
	check(err)
	signed, err := note.Open(data, note.VerifierList(key))
	check(err)
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != key.Name() {
		log.Fatalf("%s is no checkpoint of %s", path, key.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

func entries(root folder, n, size int64) [][]byte {
	width := size - n*256
	if width > 256 {
		width = 256
	}
	path := tlog.Tile{H: height, L: -1, N: n, W: int(width)}.Path()
	data, err := os.ReadFile(filepath.Join(string(root), strings.Replace(path, "tile/8/data/", "tile/entries/", 1)))
	check(err)
	var found [][]byte
	for len(data) > 0 {
		end := 2 + int(binary.BigEndian.Uint16(data))
		found = append(found, data[2:end])
		data = data[end:]
	}
	return found
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	root := folder(os.Args[1])
	key, err := note.NewVerifier(os.Args[2])
	check(err)
	tree := open(filepath.Join(os.Args[1], "checkpoint"), key)
	hashes := tlog.TileHashReader(tree, root)
	for n := int64(0); n*256 < tree.N; n++ {
		for at, entry := range entries(root, n, tree.N) {
			index := n*256 + int64(at)
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			check(err)
			check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
		}
	}
	for _, path := range os.Args[3:] {
		older := open(path, key)
		proof, err := tlog.ProveTree(tree.N, older.N, hashes)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash))
	}
	fmt.Printf("verified %d entries\n", tree.N)
}

"""A sensible wish for each mutation: who would ask it now, and for what, by what there is in the house."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from tests.postgres.fuzz.world import LENT, NOTHING, STAFF, Row, World, text

from sharewell.client import Credential

Input = dict[str, Any]
JWKS = Credential.generate("http://127.0.0.1", "any", ("system/*.cruds",)).public_jwks
KEEPERS = ("north", "south", "east")  #: institutions of one region, which share with each other


class NoneLeft(Exception):
    """There is nothing that this could be wished of."""


@dataclass
class Wisher:
    """Makes wishes; the same random numbers and the same world make the same ones."""

    random: Random
    world: World
    number: int = 0

    def wish(self, mutation: str) -> tuple[str, Input]:
        """Who asks, and the input without its key. Raises `NoneLeft`."""
        self.number += 1
        who, asked = WISHES[mutation](self)
        return who, asked

    def one(self, name: str, fits: Callable[[Row], Any] = bool) -> Row:
        found = [row for row in self.world.rows[name] if fits(row)]
        if not found:
            raise NoneLeft(name)
        return self.random.choice(found)

    def keeper(self) -> str:
        return self.random.choice(KEEPERS)

    def ahead(self, least: int = 1, most: int = 3) -> str:
        """A time some hours ahead."""
        return text(self.world.at + timedelta(hours=self.random.randint(least, most)))

    def party(self, row: Row, side: str) -> str:
        """The client of one side of a row. Raises `NoneLeft` where it is not in the house."""
        code = self.world.code_of(row[side])
        if code is None:
            raise NoneLeft(side)
        return code

    def ours(self, name: str, side: str, fits: Callable[[Row], Any]) -> tuple[str, Row]:
        row = self.one(name, lambda row: fits(row) and self.world.code_of(row[side]))
        return self.party(row, side), row

    def step(self, side: str, *states: str, **more: Any) -> tuple[str, Input]:
        who, row = self.ours("transfers", side, lambda row: row["state"] in states)
        return who, {"transfer": row["id"], **more}

    def admin(self, of: Row | None = None) -> str:
        """An admin, other than the author of a version."""
        return next(name for name in ("admin", "second") if of is None or of["author"] != name)

    def version(self, *states: str) -> Row:
        return self.one("policyVersions", lambda row: row["state"] in states)

    def file(self) -> Input:
        n = self.random.randint(1, 10**6)
        return {"name": f"extra_{n}.cedar", "text": NOTHING.format(n=n)}

    def stranger(self) -> str:
        """An institution that no client here acts for, so that nothing else ends with it."""
        row = self.one("institutions", lambda row: self.world.code_of(row["id"]) is None)
        return str(row["id"])

    def spare(self) -> str:
        """A client that nobody here asks as."""
        row = self.one("clients", lambda row: row["clientId"].startswith("spare-") and row["status"] == "ACTIVE")
        return str(row["clientId"])


def _agreement(w: Wisher, side: str, *, accepted: bool | None) -> tuple[str, Input]:
    who, row = w.ours(
        "agreements", side, lambda row: not row["endedAt"] and accepted in (None, row["acceptedAt"] is not None)
    )
    return who, {"agreement": row["id"]}


def _answer(w: Wisher) -> tuple[str, Input]:
    who, row = w.ours("transfers", "giverId", lambda row: row["state"] == "HELD")
    declines = [] if w.random.random() < 0.5 else [{"transfer": row["id"], "reason": "OWN_NEED_ROSE"}]
    return who, {"allocation": row["allocationId"], "declines": declines}


def _approve(w: Wisher) -> tuple[str, Input]:
    row = w.version("SIMULATED")
    return w.admin(row), {"version": row["number"], "sha256": row["sha256"]}


def _edit(w: Wisher) -> tuple[str, Input]:
    row = w.version("VALIDATED", "SIMULATED")
    return row["author"], {"version": row["number"], "files": [w.file()]}


def _simulate(w: Wisher) -> tuple[str, Input]:
    row = w.version("VALIDATED")
    since = text(w.world.at - timedelta(minutes=30))
    return row["author"], {"version": row["number"], "since": since, "until": text(w.world.at)}


def _withdraw_version(w: Wisher) -> tuple[str, Input]:
    row = w.version("VALIDATED", "SIMULATED", "APPROVED")
    return row["author"], {"version": row["number"]}


def _offer(w: Wisher) -> tuple[str, Input]:
    asked = {
        "resource": w.random.choice(LENT), "quantity": w.random.randint(1, 4), "availableFrom": text(w.world.at),
        "availableUntil": text(w.world.at + timedelta(days=w.random.randint(1, 5))),
    }  # fmt: skip
    if w.random.random() < 0.2:
        last = (w.world.at + timedelta(days=30)).date().isoformat()
        asked |= {"resource": "mask.n95", "lot": f"lot {w.number}", "expiresOn": last}
    return w.keeper(), asked


def _request(w: Wisher) -> tuple[str, Input]:
    return w.random.choice(("east", "east", "east", *KEEPERS)), {
        "resource": w.random.choice(LENT), "quantity": w.random.randint(1, 3), "urgency": w.random.choice((1, 3, 5, 5)),
        "reason": w.random.choice(("SURGE", "STAFF_ABSENCE", "EQUIPMENT_FAILURE")), "neededBy": text(w.world.at),
        "neededUntil": text(w.world.at + timedelta(days=w.random.randint(1, 4))),
    }  # fmt: skip


def _capacity(w: Wisher) -> tuple[str, Input]:
    back = timedelta(minutes=w.random.randint(0, 5000))
    one = {"resource": w.random.choice(LENT), "asOf": text(w.world.at - back), "staffed": w.random.randint(40, 60),
           "occupied": w.random.randint(5, 30)}  # fmt: skip
    return w.keeper(), {"reports": [one]}


def _register_client(w: Wisher) -> tuple[str, Input]:
    return "admin", {
        "name": "Spare", "clientId": f"spare-{w.number}-{w.random.randint(0, 10**6)}", "roles": ["REGULATOR"],
        "scopes": ["system/Offer.rs"], "jwks": JWKS, "purposes": ["OPERATIONS"],
    }  # fmt: skip


def _register_institution(w: Wisher) -> tuple[str, Input]:
    return "admin", {
        "code": f"clinic-{w.number}-{w.random.randint(0, 10**6)}", "name": "Clínica Ñandú 診療所", "kind": "CLINIC",
        "region": w.random.choice(("us-nj", "us-ny", "elsewhere")), "latitude": 40.5, "longitude": -74.5,
    }  # fmt: skip


def _register_person(w: Wisher) -> tuple[str, Input]:
    login = f"person-{w.number}-{w.random.randint(0, 10**6)}"
    return "admin", {"login": login, "name": "Zoë 𝓐", "roles": ["REGULATOR"]}


def _unplanned(w: Wisher) -> tuple[str, Input]:
    giver, receiver = w.random.sample(KEEPERS, 2)
    units = {"resource": w.random.choice(LENT), "units": w.random.randint(1, 4)}
    return w.random.choice((giver, receiver)), {
        "giver": w.world.sites[giver], "receiver": w.world.sites[receiver], **units
    }


def _propose(w: Wisher) -> tuple[str, Input]:
    giver, receiver = w.random.sample(KEEPERS, 2)
    return giver, {"receiver": w.world.sites[receiver], "until": w.ahead(24, 2000), "detail": "COUNTS"}


def _surge(w: Wisher) -> tuple[str, Input]:
    region = w.random.choice(("us-nj", "us-ny", "elsewhere"))
    return "planner", {"region": region, "reason": "DISASTER", "until": w.ahead(1, 20)}


def _consent(w: Wisher) -> tuple[str, Input]:
    asked = {"resource": w.random.choice(LENT), "until": w.ahead(1, 40)}
    person = {"identifier": w.random.choice(STAFF), "name": f"Canary of {(who := w.keeper())}"}
    return who, asked | {"onBehalfOf": person}


def _resource(w: Wisher) -> tuple[str, Input]:
    return "admin", {
        "code": f"line.n{w.number}-{w.random.randint(0, 10**6)}", "kind": "PLACE", "name": "A line", "unit": "{each}",
    }


def _invited(w: Wisher, *states: str) -> Input:
    return {"person": w.one("people", lambda row: row["status"] in states)["id"]}


def _withdraw_consent(w: Wisher) -> tuple[str, Input]:
    who, row = w.ours("consents", "institutionId", lambda row: not row["withdrawnAt"])
    return who, {"consent": row["id"]}


def _withdraw_offer(w: Wisher) -> tuple[str, Input]:
    who, row = w.ours("offers", "institutionId", lambda row: row["status"] == "OPEN")
    return who, {"offer": row["id"]}


def _cancel(w: Wisher) -> tuple[str, Input]:
    who, row = w.ours("requests", "institutionId", lambda row: row["status"] == "OPEN")
    return who, {"request": row["id"]}


def _receive(w: Wisher) -> tuple[str, Input]:
    return w.step("receiverId", "DISPATCHED")


WISHES: Mapping[str, Callable[[Wisher], tuple[str, Input]]] = {
    "acceptAgreement": lambda w: _agreement(w, "receiverId", accepted=False),
    "answerPlan": _answer,
    "approvePolicies": _approve,
    "breakGlass": lambda w: ("admin", {
        "version": w.version("VALIDATED", "SIMULATED")["number"], "reason": "CARE_BLOCKED", "remark": "Ward 3 waits.",
        "until": w.ahead(),
    }),
    "cancelRequest": _cancel,
    "chooseFairness": lambda w: ("planner", {
        "region": "us-nj", "resource": w.random.choice(LENT), "rule": w.random.choice(("WELFARE", "LEXIMIN", "FLOOR")),
    }),
    "confirmTransfer": lambda w: w.step("giverId", "HELD"),
    "declareSurge": _surge,
    "declineTransfer": lambda w: w.step("giverId", "HELD", reason="OWN_NEED_ROSE", remark="Zwei fehlen — 二人."),
    "defineResource": _resource,
    "disableClient": lambda w: ("admin", {"clientId": w.spare()}),
    "disablePerson": lambda w: ("admin", _invited(w, "INVITED", "ACTIVE")),
    "dispatchTransfer": lambda w: w.step("giverId", "CONFIRMED"),
    "draftPolicies": lambda w: (w.random.choice(("admin", "second")), {"files": [w.file()], "why": "To try it."}),
    "editPolicies": _edit,
    "endAgreement": lambda w: _agreement(w, "giverId", accepted=None),
    "endBreakGlass": lambda w: ("admin", {"glass": w.one("brokenGlasses", lambda row: row["inForce"])["id"]}),
    "endSurge": lambda w: ("planner", {"surge": w.one("surgeModes", lambda row: row["inForce"])["id"]}),
    "erasePerson": lambda w: ("admin", {**_invited(w, "DISABLED"), "ground": "OBJECTION"}),
    "eraseSubject": lambda w: ("admin", {"subject": w.one("subjects")["subject"], "ground": "OBJECTION"}),
    "giveConsent": _consent,
    "invitePersonAgain": lambda w: ("admin", _invited(w, "INVITED", "ACTIVE")),
    "openRequest": _request,
    "overridePlan": lambda w: (
        "planner", w.step("giverId", "HELD", "CONFIRMED", kind="CANCEL", code="NEED_ENDED")[1],
    ),
    "planHorizon": lambda w: ("planner", {
        "region": "us-nj", "resources": ["ventilator"], "seconds": 300, "days": w.random.randint(2, 6),
    }),
    "proposeAgreement": _propose,
    "publishOffer": _offer,
    "receiveTransfer": _receive,
    "registerClient": _register_client,
    "registerInstitution": _register_institution,
    "registerPerson": _register_person,
    "reportCapacity": _capacity,
    "reportUnplannedMove": _unplanned,
    "requeueJob": lambda w: ("admin", {"job": w.one("jobsSetAside")["id"]}),
    "returnTransfer": lambda w: w.step("receiverId", "RECEIVED", "RETURN_DUE"),
    "rollBackPolicies": lambda w: ("admin", {"to": w.version("SUPERSEDED")["number"], "why": "It was better."}),
    "setInstitutionStatus": lambda w: ("admin", {
        "institution": w.stranger(), "status": w.random.choice(("ACTIVE", "SUSPENDED", "OBSERVED")),
    }),
    "simulatePolicies": _simulate,
    "startAllocation": lambda w: ("planner", {"region": "us-nj", "resource": w.random.choice(LENT)}),
    "startForecast": lambda w: ("planner", {"resource": w.random.choice(LENT)}),
    "trustDocuments": lambda w: ("admin", {"clientId": w.spare(), "documents": ["{ me { clientId } }"]}),
    "withdrawConsent": _withdraw_consent,
    "withdrawOffer": _withdraw_offer,
    "withdrawPolicyVersion": _withdraw_version,
}  # fmt: skip

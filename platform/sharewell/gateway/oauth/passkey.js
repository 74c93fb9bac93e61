// Asks the browser for a passkey, and puts its answer into the form. Without this script a password and a code do.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

const ask = {
  async get(options) {
    const found = await navigator.credentials.get({ publicKey: { ...options, challenge: bytes(options.challenge) } });
    const { authenticatorData, signature, userHandle } = found.response;
    return said(found, {
      authenticatorData: text(authenticatorData), signature: text(signature),
      ...(userHandle ? { userHandle: text(userHandle) } : {}),
    });
  },
  async create(options) {
    const user = { ...options.user, id: bytes(options.user.id) };
    const excludeCredentials = options.excludeCredentials.map((one) => ({ ...one, id: bytes(one.id) }));
    const made = await navigator.credentials.create({
      publicKey: { ...options, challenge: bytes(options.challenge), user, excludeCredentials },
    });
    return said(made, { attestationObject: text(made.response.attestationObject) });
  },
};

const said = (credential, response) => JSON.stringify({
  id: credential.id, rawId: text(credential.rawId), type: credential.type,
  response: { clientDataJSON: text(credential.response.clientDataJSON), ...response },
});

for (const place of document.querySelectorAll("[data-passkey]")) {
  if (!window.PublicKeyCredential) break;
  const [button, field, status] = ["button", "input[name=passkey]", "[role=status]"].map((what) => place.querySelector(what));
  const form = place instanceof HTMLFormElement ? place : null;
  place.hidden = false;
  // A form is sent by its button or by the enter key, and in either case with a passkey.
  (form ?? button).addEventListener(form ? "submit" : "click", async (event) => {
    event.preventDefault();
    status.setAttribute("role", "status");
    status.textContent = "";
    button.disabled = true; // one question at a time, and one form
    try {
      field.value = await ask[place.dataset.passkey](JSON.parse(place.dataset.options));
      status.textContent = place.dataset.done ?? "";
      form ? form.submit() : (button.disabled = false);
    } catch {
      button.disabled = false;
      status.setAttribute("role", "alert");
      status.textContent = "That did not work. You can go on without a passkey.";
    }
  });
}

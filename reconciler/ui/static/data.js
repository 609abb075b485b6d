// What the server knows, and what it is asked to do.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  let body = {};
  try {
    body = await answer.json();
  } catch { /* an answer of something in between: its status says enough */ }
  if (!answer.ok) throw new Refused(answer.status, body.error ?? `The server answered with ${answer.status}.`);
  return body;
}

function asked(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== "" && each !== undefined && each !== null) parameters.append(name, each);
  }
  return ask(`data/${path}?${parameters}`);
}

const send = (path, body = "") => ask(path, { method: "POST", body, headers: { "X-Reconciler-UI": "1", "Content-Type": "text/plain" } });
const at = encodeURIComponent;

export const data = {
  about: () => asked("about"),
  jobs: (query) => asked("jobs", query),
  job: (id) => asked(`jobs/${at(id)}`),
  events: (id, query) => asked(`jobs/${at(id)}/events`, query),
  overview: () => asked("overview"),
  spec: (name) => asked(`specs/${at(name)}`),
  history: () => asked("history"),
  approve: (runs) => send("data/approve", JSON.stringify({ runs })),
  edit: (name, state, write) => send(`data/specs/${at(name)}/state`, JSON.stringify({ state, write })),
  act: (id, verb) => send(`data/jobs/${at(id)}/${at(verb)}`),
  login: (token) => send("login", token),
  logout: () => send("logout"),
};

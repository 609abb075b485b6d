// Elements from plain values. Text only ever becomes text: there is no way to make markup of it here.

/** Make an element. Properties are set as such, `on…` are listeners, `class`, `data-…`, `aria-…` and `role` attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set an element's text if it is another: what has not changed is not painted or read out again. */
export function text(element, words) {
  const wanted = words ?? "";
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** Keep children of `parent` in step with `items`: made once for each key, updated afterwards, moved only where needed. */
export function keyed(parent, items, key, make, update) {
  const known = parent.keyed ?? (parent.keyed = new Map());
  const wanted = new Set(items.map(key));
  for (const [id, element] of known) {
    if (!wanted.has(id)) {
      element.remove();
      known.delete(id);
    }
  }
  items.forEach((item, place) => {
    const id = key(item);
    if (!known.has(id)) known.set(id, make(item));
    const element = known.get(id);
    update(element, item);
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
  });
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an element of a picture; all properties are attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Ask a question with two answers, in a dialog of its own. `detail` is a sentence or an element. */
export function confirm(question, yes, { detail = "", danger = false } = {}) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "ask", "aria-label": question, onclose: () => { dialog.remove(); resolve(dialog.returnValue === "yes"); } },
      h("form", { method: "dialog" },
        h("h2", {}, question),
        detail && (detail instanceof Node ? detail : h("p", {}, detail)),
        h("div", { class: "buttons" },
          h("button", { value: "no", autofocus: true }, "No"),
          h("button", { value: "yes", class: danger ? "danger" : "main" }, yes))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

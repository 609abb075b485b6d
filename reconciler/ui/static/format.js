// Numbers, times and states as people read them; the same words as the reports in a terminal.

export const NOTHING = "–";

/** Integers whole, others to four significant digits. */
export function number(value) {
  if (value === null || value === undefined) return NOTHING;
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return String(Number(value.toPrecision(4)));
}

/** A loss or an accuracy: always as many digits, so that columns align. */
export const measure = (value) => (value === null || value === undefined ? NOTHING : Math.abs(value) >= 1000 ? number(value) : value.toFixed(3));

/** A length of time in its two largest units: 45s, 4m 10s, 2h 05m, 3d 04h. */
export function duration(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m ${two(whole % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h ${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

/** ISO 8601 in UTC, to the second. */
export function timestamp(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `@${seconds}` : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export const clock = (seconds) => {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString("en-GB");
};

/** How long ago, or the day where that says more. */
export function ago(seconds, now = Date.now() / 1000) {
  const past = now - seconds;
  if (past < 5) return "just now";
  if (past < 60) return `${Math.floor(past)} s ago`;
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  if (past < 86400) return `${Math.floor(past / 3600)} h ago`;
  return timestamp(seconds).slice(0, 10);
}

const TONES = { succeeded: "good", failed: "bad", cancelled: "over", running: "busy", paused: "held" };
const WAITING = new Set(["validating_files", "queued", "pending", "pausing", "resuming"]);

/** How a status looks; one that nobody knows stands out. */
export const tone = (status) => TONES[status] ?? (WAITING.has(status) ? "waiting" : "odd");

export const words = (status) => String(status).replaceAll("_", " ");

export const ended = (status) => ["succeeded", "failed", "cancelled"].includes(status);

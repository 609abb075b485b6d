// The news: when the server says that something is another, whatever is shown is asked for again, not too often.

const LEAST = 700;

export class Live {
  /** `refresh` is awaited; `state` is told `live`, `waiting` or `lost`. */
  constructor(refresh, state) {
    this.refresh = refresh;
    this.state = state;
    this.stream = null;
    this.busy = false;
    this.again = false;
    this.last = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
  }

  start() {
    if (this.stream || document.hidden) return;
    this.state("waiting");
    this.stream = new EventSource("data/stream");
    this.stream.onopen = () => this.state("live");
    this.stream.onmessage = () => this.soon();
    this.stream.onerror = () => {
      this.state("lost");
      if (this.stream?.readyState === EventSource.CLOSED) {
        this.stop();
        setTimeout(() => this.start(), 3000);
      }
    };
  }

  /** A page that nobody sees needs no news, and browsers open few connections to one server. */
  stop() {
    this.stream?.close();
    this.stream = null;
  }

  async soon() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    try {
      do {
        this.again = false;
        const rest = this.last + LEAST - performance.now();
        if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
        this.last = performance.now();
        await this.refresh();
      } while (this.again);
    } finally {
      this.busy = false;
    }
  }
}

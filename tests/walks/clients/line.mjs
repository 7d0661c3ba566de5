// A TCP line between a client and a server that a test can cut or make deaf.
import net from "node:net";

export class Line {
  static async to(url) {
    const { hostname, port } = new URL(url), line = new Line();
    line.pairs = new Set();
    line.server = net.createServer((near) => line.#join(near, net.connect(Number(port), hostname)));
    await new Promise((resolve) => line.server.listen(0, "127.0.0.1", resolve));
    line.url = `http://127.0.0.1:${line.server.address().port}`;
    return line;
  }

  // Nothing that the server says arrives any more on the connections of now.
  mute() { for (const pair of this.pairs) pair.muted = true; }

  cut() { for (const { near, far } of this.pairs) { near.resetAndDestroy(); far.destroy(); } }

  #join(near, far) {
    const pair = { near, far, muted: false };
    this.pairs.add(pair);
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => { if (!pair.muted) near.write(data); });
    for (const [end, other] of [[near, far], [far, near]]) {
      end.on("error", () => other.destroy());
      end.on("close", () => { this.pairs.delete(pair); other.destroy(); });
    }
  }
}

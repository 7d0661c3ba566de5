// What is done with files: an upload as Convex's documentation has it, seen by whoever is subscribed.
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";

const { files } = anyApi;

// The deployment's own host name means this machine, which not every resolver knows.
const at = (url, given) => Object.assign(new URL(url), { pathname: new URL(given).pathname, search: new URL(given).search });

export async function files_flow({ url }) {
  const client = new ConvexHttpClient(url, { logger: false }), live = new ConvexClient(url, { logger: false });
  const seen = [];
  let wake = () => undefined;
  live.onUpdate(files.pictures, {}, (pictures) => {
    seen.push(pictures);
    wake();
  });
  const until = async (holds) => {
    while (!(seen.length && holds(seen.at(-1)))) await new Promise((resolve) => (wake = resolve));
  };
  await until((pictures) => pictures.length === 0);
  const body = new Blob(["<svg/>", new Uint8Array(500_000)], { type: "image/svg+xml" });
  const target = await client.mutation(files.upload_url, {});
  const sent = await fetch(at(url, target), { method: "POST", headers: { "Content-Type": body.type }, body });
  const { storageId } = await sent.json();
  await client.mutation(files.send, { file: storageId, author: "ann" });
  await until((pictures) => pictures.length === 1);
  const shown = at(url, seen.at(-1)[0].url);
  const got = await fetch(shown);
  const same = Buffer.compare(Buffer.from(await got.arrayBuffer()), Buffer.from(await body.arrayBuffer())) === 0;
  const part = await fetch(shown, { headers: { Range: "bytes=0-5" } });
  const text = await part.text();
  await client.mutation(files.remove, { file: storageId });
  await until((pictures) => pictures[0].url === null);
  const gone = await fetch(shown);
  await live.close();
  return { upload: sent.status, type: got.headers.get("content-type"), same, part: part.status, text, gone: gone.status };
}

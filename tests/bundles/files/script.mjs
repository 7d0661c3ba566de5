"use node";
// The same from Node.js.
import { action } from "warren";

export const round_trip = action(async (ctx, { size }) => {
  const bytes = new Uint8Array(Number(size)).map((_, at) => at % 256);
  const id = await ctx.storage.store(new Blob([bytes], { type: "application/x-bytes" }));
  const blob = await ctx.storage.get(id);
  if (Buffer.compare(Buffer.from(await blob.arrayBuffer()), Buffer.from(bytes))) throw new Error("other bytes came back");
  const found = [id, blob.size, blob.type, await ctx.storage.getMetadata(id), await ctx.storage.getUrl(id)];
  await ctx.storage.delete(id);
  return [...found, await ctx.storage.get(id), await ctx.storage.getUrl(id), await ctx.storage.generateUploadUrl()];
});

export const wrong_digest = action(async (ctx) => ctx.storage.store(new Blob(["text"]), { sha256: "0".repeat(64) }));

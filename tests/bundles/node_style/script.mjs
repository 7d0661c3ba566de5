"use node";
import { action, api, internal, internalAction, v } from "warren";

let calls = 0;

export const keep = action({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    console.log("keeping", text);
    await ctx.runMutation(internal.notes.add, { text });
    return await ctx.runQuery(api.notes.texts);
  },
});

export const shout = internalAction({
  args: { text: v.string() },
  returns: v.string(),
  handler: async (ctx, { text }) => text.toUpperCase(),
});

export const whoami = action(async () => ({ pid: process.pid, calls: ++calls, secret: process.env.SECRET ?? null }));

export const leaves = action(async () => process.exit(3));

export const asks = action(async (ctx, { url }) => (await fetch(url)).status);

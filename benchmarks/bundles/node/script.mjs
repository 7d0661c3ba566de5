"use node";

import { internalAction, v } from "warren";

export const hello = internalAction({
  args: { name: v.string() },
  handler: async (ctx, { name }) => `Hello, ${name}!`,
});

"use node";

import slugify from "slugify";
import { internalAction, v } from "warren";

/** The part of a URL that a title becomes. */
export const make = internalAction({
  args: { title: v.string() },
  returns: v.string(),
  handler: async (ctx, { title }) => slugify(title, { lower: true, strict: true }),
});

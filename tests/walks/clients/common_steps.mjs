// What scenarios have in common: names of functions, a value of every kind, errors as data.
import { anyApi, makeFunctionReference } from "convex/server";
import { ConvexError } from "convex/values";

export const { messages } = anyApi;
export const NOTHING = makeFunctionReference("messages:nothing");
export const FAILING = makeFunctionReference("messages:fail_mutation");
export const ACTING = { subject: "ann", issuer: "https://acting.example.org", tokenIdentifier: "https://acting.example.org|ann" };

export const EVERY_KIND = {
  nothing: null, yes: true, text: "naïve ☃ 𝄞 \" \\ \n", whole: 3, broken: -7.25, huge: 1e300, smallest: 5e-324,
  infinite: -Infinity, not: NaN, below: -0, int64: 2n ** 63n - 1n, bytes: new Uint8Array([0, 127, 255]).buffer,
  list: [1, ["two", {}]], nested: { deep: { deeper: [] } },
};

// How a call ended that should fail: by whom it was refused, and with what.
export async function refusal(call) {
  try {
    return { returned: (await call()) ?? null };
  } catch (error) {
    return error instanceof ConvexError ? { data: error.data } : { message: String(error.message) };
  }
}

export const bodies = (list) => list.map((message) => message.body);

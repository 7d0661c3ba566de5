// What is done with ConvexHttpClient.
import { ConvexHttpClient } from "convex/browser";
import { ACTING, EVERY_KIND, FAILING, NOTHING, bodies, messages, refusal } from "./common_steps.mjs";

const connect = (url, options = {}) => new ConvexHttpClient(url, { logger: false, ...options });

export async function http_calls({ url }) {
  const client = connect(url), sent = [...Array(8).keys()].map((number) => `${number}`);
  await Promise.all(sent.map((body) => client.mutation(messages.send, { author: "http", body })));
  const consistent = connect(url);
  const before = bodies(await consistent.consistentQuery(messages.list, {}));
  await client.mutation(messages.send, { author: "http", body: "later" }, { skipQueue: true });
  return {
    listed: await client.query(messages.by, { author: "http" }),
    moment: bodies(await consistent.consistentQuery(messages.list, {})).length - before.length,
    echoed: await client.action(messages.echo, EVERY_KIND),
    sent: EVERY_KIND,
  };
}

export async function http_refusals({ url }) {
  const client = connect(url);
  return {
    query: await refusal(() => client.query(messages.fail, {})),
    mutation: await refusal(() => client.mutation(FAILING, {})),
    unknown: await refusal(() => client.query(NOTHING, {})),
    kind: await refusal(() => client.mutation(messages.list, {})),
    missing: await refusal(() => client.mutation(messages.send, { author: "http" })),
    kept: await client.query(messages.by, { author: "nobody" }),
  };
}

export async function http_identities({ url, token, key }) {
  const client = connect(url, { auth: token }), administrator = connect(url), wrong = connect(url);
  const person = await client.query(messages.whoami, {});
  client.setAuth("not-a-token");
  const refused = await refusal(() => client.query(messages.whoami, {}));
  client.clearAuth();
  administrator.setAdminAuth(key, ACTING);
  wrong.setAdminAuth("nobody|00000000");
  return {
    person, refused,
    nobody: await client.query(messages.whoami, {}),
    acting: await administrator.query(messages.whoami, {}),
    secret: await administrator.function("messages:secret", undefined, {}),
    closed: await refusal(() => client.query("messages:secret", {})),
    wrong: await refusal(() => wrong.query(messages.list, {})),
  };
}

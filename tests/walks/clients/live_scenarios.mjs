// What is done with ConvexClient over its WebSocket, also over a line that breaks.
import { ConvexClient } from "convex/browser";
import { ACTING, EVERY_KIND, FAILING, NOTHING, messages, refusal } from "./common_steps.mjs";
import { Line } from "./line.mjs";

const connect = (url, options = {}) => new ConvexClient(url, { logger: false, unsavedChangesWarning: false, ...options });

// A subscription that remembers what it was told and can be waited for.
class Watch {
  constructor(client, query, args = {}) {
    this.seen = [];
    this.errors = [];
    this.wake = () => {};
    const told = (list) => (value) => { list.push(value); this.wake(); };
    this.stop = client.onUpdate(query, args, told(this.seen), told(this.errors));
  }

  async until(holds) {
    while (!holds(this)) await new Promise((resolve) => (this.wake = resolve));
    return this.seen.at(-1);
  }

  value(holds = () => true) { return this.until(({ seen }) => seen.length > 0 && holds(seen.at(-1))); }
}

const send = (client, body, author = "live") => client.mutation(messages.send, { author, body });
const own = (client, author = "live") => new Watch(client, messages.by, { author });

export async function live_updates({ url }) {
  const one = connect(url), two = connect(url), watch = own(one), seen = [];
  await watch.value();
  await Promise.all([...Array(10).keys()].map((number) => send(one, `${number}`)));
  const ordered = [...watch.stop.getCurrentValue()];
  await send(two, "from elsewhere");
  await watch.value((list) => list.includes("from elsewhere"));
  const counts = one.onUpdate(messages.by, { author: "live" }, (list) => seen.push(list.filter((body) => body === "hoped").length));
  const hope = { optimisticUpdate: (store, { author, body }) => store.setQuery(messages.by, { author }, [...store.getQuery(messages.by, { author }), body]) };
  const sending = one.mutation(messages.send, { author: "live", body: "hoped" }, hope);
  await watch.value((list) => list.includes("hoped"));
  await sending;
  counts();
  watch.stop();
  const told = watch.seen.length;
  await send(one, "unseen");
  return { ordered, told: watch.seen.length - told, hoped: seen.slice(seen.indexOf(1)), echoed: await one.action(messages.echo, EVERY_KIND), sent: EVERY_KIND };
}

export async function live_refusals({ url }) {
  const client = connect(url), failing = new Watch(client, messages.fail);
  await failing.until(({ errors }) => errors.length > 0);
  return {
    watched: { data: failing.errors[0].data },
    query: await refusal(() => client.query(messages.fail, {})),
    mutation: await refusal(() => client.mutation(FAILING, {})),
    unknown: await refusal(() => client.action(NOTHING, {})),
    kind: await refusal(() => client.query(messages.send, { author: "live", body: "x" })),
    kept: await client.query(messages.by, { author: "nobody" }),
    connections: client.connectionState().connectionCount,
  };
}

export async function live_identities({ url, token, key }) {
  const client = connect(url), watch = new Watch(client, messages.whoami), acting = connect(url), late = connect(url, { expectAuth: true });
  await watch.value((identity) => identity === null);
  const login = (given) => new Promise((resolve) => client.setAuth(async () => given, resolve));
  const refused = await login("not-a-token");
  const accepted = await login(token);
  const person = await watch.value((identity) => identity !== null);
  client.client.clearAuth();
  await watch.value((identity) => identity === null);
  acting.setAdminAuth(key, ACTING);
  // One is given its token at once, the other long after its socket has opened.
  const first = (known) => {
    known.setAuth(async () => token);
    const who = new Watch(known, messages.whoami);
    return who.value().then(() => who.seen[0]);
  };
  return {
    refused, accepted, person,
    acting: await new Watch(acting, messages.whoami).value(),
    expected: await first(connect(url, { expectAuth: true })),
    late: await first(late),
  };
}

// The line breaks: the subscription comes back, and the person is still known.
export async function live_reconnects({ url, token }) {
  const line = await Line.to(url), client = connect(line.url), direct = connect(url);
  await new Promise((resolve) => client.setAuth(async () => token, resolve));
  const watch = own(client, "cut"), who = new Watch(client, messages.whoami);
  await watch.value();
  await who.value((identity) => identity !== null);
  const known = who.seen.length;
  line.cut();
  await send(direct, "while away", "cut");
  await watch.value((list) => list.includes("while away"));
  await send(client, "after", "cut");
  return { list: watch.stop.getCurrentValue(), connections: client.connectionState().connectionCount, strangers: who.seen.slice(known).filter((identity) => identity === null).length };
}

// The server's answer is lost on the way: the mutation is said again and still happens once; the action is given up.
export async function live_lost_answers({ url }) {
  const line = await Line.to(url), client = connect(line.url), direct = connect(url), watch = own(direct, "lost");
  await own(client, "lost").value();
  await watch.value();
  line.mute();
  const sending = send(client, "once", "lost"), acting = refusal(() => client.action(messages.echo, { a: 1 }));
  await watch.value((list) => list.includes("once"));
  line.cut();
  await sending;
  return { list: await direct.query(messages.by, { author: "lost" }), action: await acting, next: await client.action(messages.echo, { a: 2 }) };
}

// The chat in React, with the npm package `convex` as it comes: what is said anywhere is seen here at once.
import { ConvexProvider, ConvexReactClient, useMutation, usePaginatedQuery, useQuery } from "convex/react";
import { anyApi as api } from "convex/server";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const asked = new URLSearchParams(location.search);
const client = new ConvexReactClient(asked.get("url") ?? "http://127.0.0.1:3210");
const PAGE = 5;

function Chat() {
  const [room, setRoom] = useState(asked.get("room") ?? "lobby");
  const [author, setAuthor] = useState(asked.get("name") ?? "Somebody in a browser");
  return (
    <main>
      <h1>Chat</h1>
      <Rooms current={room} choose={setRoom} />
      <p>
        <label>Room <input name="room" value={room} onChange={(event) => setRoom(event.target.value)} /></label>{" "}
        <label>Name <input name="author" value={author} onChange={(event) => setAuthor(event.target.value)} /></label>
      </p>
      <Messages room={room} />
      <Say room={room} author={author} />
    </main>
  );
}

function Rooms({ current, choose }) {
  const rooms = useQuery(api.chat.rooms) ?? [];
  return (
    <nav aria-label="Rooms">
      {rooms.map((room) => (
        <button key={room} aria-pressed={room === current} onClick={() => choose(room)}>{room}</button>
      ))}
    </nav>
  );
}

function Messages({ room }) {
  const { results, status, loadMore } = usePaginatedQuery(api.chat.history, { room }, { initialNumItems: PAGE });
  return (
    <>
      {status === "CanLoadMore" && <button name="earlier" onClick={() => loadMore(PAGE)}>Earlier</button>}
      <ol aria-live="polite" aria-busy={status.startsWith("Loading")}>
        {results.toReversed().map(({ _id, author, body }) => <li key={_id}><b>{author}</b>{body}</li>)}
      </ol>
    </>
  );
}

function Say({ room, author }) {
  const say = useMutation(api.chat.say);
  const [body, setBody] = useState("");
  const [problem, setProblem] = useState("");
  async function submit(event) {
    event.preventDefault();
    setProblem("");
    try {
      await say({ room, author, body });
      setBody("");
    } catch (error) {
      setProblem(error.data?.code ?? "The server could not be asked.");
    }
  }
  return (
    <form onSubmit={submit}>
      <input name="body" aria-label="Message" autoComplete="off" value={body} onChange={(event) => setBody(event.target.value)} />
      <button name="say">Say</button>
      {problem && <span role="alert">{problem}</span>}
    </form>
  );
}

createRoot(document.getElementById("chat")).render(<ConvexProvider client={client}><Chat /></ConvexProvider>);

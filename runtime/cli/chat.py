"""``branchline chat``: chat with a worker in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click
from rich.markup import escape

from runtime.cli.conversation import Conversation
from runtime.cli.prompts import given, hint, json_object, read_line
from runtime.cli.reply import Reply
from runtime.cli.sign_in import sign_in
from runtime.cli.terminal import console, print_table
from runtime.errors import Invalid, NotFound, Unavailable
from runtime.model import Json
from runtime.thread_api.client import Api, Refused

_HELP = """\
/edit N      edit question N of this branch; the original stays on its own branch
/again       regenerate the last answer, on a new branch
/branches    list the branches of this thread
/switch N    go to the end of branch N
/history     show this branch
/worker [W]  switch to the worker W; without W, list the workers
/new         start a new thread
/help        show this help
/quit        quit (so does Ctrl-D); Ctrl-C cancels an answer"""


@click.command()
@click.argument("worker", required=False)
@click.option("--url", help="The server (default: PORT and BASE_PATH on this machine).")
@click.option("--thread", "thread_id", type=click.UUID, help="Continue this thread.")
@click.option("--email", help="The account (default: the development account).")
@click.option("--token", envvar="BRANCHLINE_TOKEN", help="An API token, instead of signing in.")
@click.option("--config", callback=json_object, help="The worker's configuration, as a JSON object.")
@click.option("-m", "--message", help="Send this message, print the answer, and exit.")
def chat(
    worker: str | None,
    url: str | None,
    thread_id: object | None,
    email: str | None,
    token: str | None,
    config: dict[str, Json],
    message: str | None,
) -> None:
    """Chat with WORKER (default: the first that is available).

    Edited questions and regenerated answers become branches; see /help.
    """
    api = sign_in(url, email, token)
    conversation = Conversation.resume(api, str(thread_id)) if thread_id else Conversation.create(api)
    talk = Chat(api, conversation, worker or _first_available(api), config)
    if message is not None:
        raise SystemExit(0 if talk.ask(message) == "success" else 1)
    talk.run()


class Chat:
    """One terminal, one thread at a time."""

    def __init__(self, api: Api, conversation: Conversation, worker_id: str, config: dict[str, Json]) -> None:
        self._api = api
        self._conversation = conversation
        self._worker_id = worker_id
        self._config = config
        self._commands: dict[str, Callable[[str], None]] = {
            "/edit": self._edit,
            "/again": self._again,
            "/branches": self._branches,
            "/switch": self._switch,
            "/history": self._history,
            "/worker": self._worker,
            "/new": self._new,
            "/help": lambda _: console.print(_HELP, markup=False),
        }

    def run(self) -> None:
        """Read and answer until Ctrl-D or /quit."""
        console.print(f"Chatting with [bold]{escape(self._worker_id)}[/]. Type /help for help.")
        while True:
            try:
                line = read_line("> ")
                if line is None or line.strip() == "/quit":
                    break
                self._execute(line)
            except KeyboardInterrupt:
                console.print()
            except (Refused, Invalid, NotFound, Unavailable) as error:
                console.print(str(error), style="red", markup=False)
        console.print(f"To continue: branchline chat --thread {self._conversation.thread_id}", style="dim")

    def ask(self, text: str | None) -> str | None:
        """Have the worker answer ``text``, or the last question if None. Returns the run's status."""
        run_id = self._conversation.ask(self._worker_id, self._config, text)
        reply = Reply(console)
        while reply.status is None:
            try:
                reply.follow(self._api.run_events(run_id, reply.cursor))
                if reply.question is not None:
                    self._answer(run_id, reply.question)
                    reply.question = None
            except KeyboardInterrupt:
                reply.question = None
                self._api.post(f"/api/runs/{run_id}/cancel", {})
        if reply.status != "success":
            error = reply.error or {}
            console.print(
                f"{reply.status}: {error.get('message', '')}".rstrip(": "), style="red", markup=False
            )
        return reply.status

    def _execute(self, line: str) -> None:
        name, _, argument = line.strip().partition(" ")
        if name.startswith("/"):
            if name not in self._commands:
                raise Invalid(f"Unknown command {name}; type /help for a list.")
            self._commands[name](argument.strip())
        elif line.strip():
            self.ask(line)

    def _answer(self, run_id: str, question: Mapping[str, Json]) -> None:
        answered = False
        while not answered:
            text = read_line(f"{question.get('prompt') or 'The worker asks'}{hint(question)} ")
            if text is None:
                raise KeyboardInterrupt
            body = {"confirmation_id": question.get("id"), "answer": given(question, text)}
            answered = True
            try:
                self._api.post(f"/api/runs/{run_id}/answer", body)
            except Refused as error:  # it was answered elsewhere, or has ended; the stream says which
                console.print(str(error), style="red", markup=False)
                answered = error.status != 422  # it does not fit the question

    def _edit(self, argument: str) -> None:
        number, _, text = argument.partition(" ")
        before = self._conversation.before_question(_number(number, "/edit 2"))
        changed = text.strip() or read_line("edit: ")
        if changed:
            self._conversation.position = before
            self.ask(changed)

    def _again(self, _: str) -> None:
        asked = [message for message in self._conversation.history() if message["role"] == "user"]
        if not asked:
            raise NotFound("There is no question on this branch yet.")
        self._conversation.position = asked[-1]["state_id"]
        self.ask(None)

    def _branches(self, _: str) -> None:
        here = self._conversation.position
        rows = [
            (f"{'*' if leaf.state_id == here else ' '} {number}", str(leaf.turns), leaf.preview)
            for number, leaf in enumerate(self._conversation.leaves(), 1)
        ]
        print_table(("Branch", "Turns", "Last message"), rows)

    def _switch(self, argument: str) -> None:
        leaves = self._conversation.leaves()
        number = _number(argument, "/switch 1")
        if not 1 <= number <= len(leaves):
            raise NotFound(f"There is no branch {number}; /branches lists them.")
        self._conversation.position = leaves[number - 1].state_id
        self._history("")

    def _history(self, _: str) -> None:
        number = 0
        for message in self._conversation.history():
            if message["role"] == "user":
                number += 1
                console.print(f"{number}> {message['content']}", style="bold", markup=False)
            else:
                console.print(message["content"], markup=False)

    def _worker(self, argument: str) -> None:
        workers = {worker["id"]: worker for worker in self._api.get("/api/workers")["items"]}
        if not argument:
            rows = [
                (w["id"], w["name"], "ready" if w["available"] else w["reason"]) for w in workers.values()
            ]
            print_table(("Worker", "Name", "Status"), rows)
        elif argument in workers:
            self._worker_id, self._config = argument, {}
        else:
            raise NotFound(f"Unknown worker {argument}; /worker lists them.")

    def _new(self, _: str) -> None:
        self._conversation = Conversation.create(self._api)


def _first_available(api: Api) -> str:
    workers = api.get("/api/workers")["items"]
    for worker in workers:
        if worker["available"]:
            return str(worker["id"])
    raise NotFound("No worker is available; see `branchline doctor`.")


def _number(text: str, example: str) -> int:
    if not text.isdecimal():
        raise Invalid(f"Enter a number, for example: {example}")
    return int(text)

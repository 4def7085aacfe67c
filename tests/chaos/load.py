"""The load: users who ask for runs, cancel some, answer what they are asked, and insist on an answer."""

from __future__ import annotations

import random
import threading
import time
import traceback
import uuid
from collections.abc import Sequence
from pathlib import Path

import httpx

from runtime.testing.client import PASSWORD
from tests.chaos.api import GIVE_UP_AFTER, Api, Refused, Unanswered
from tests.chaos.ledger import Accepted, Ledger, RunRequest, Sent
from tests.chaos.plan import USERS, Ask, Plan, Watch
from tests.chaos.readers import Reader, watch_all

_AFTERWARDS = Watch("run", 0, 0)
_REREAD_WITHIN = 20.0
"""Seconds."""
_POLL_INTERVAL = 0.25
"""Seconds between two looks whether a run waits for an answer."""


class Load:
    """Carries out the asks of a plan, each in a thread of its own."""

    def __init__(self, plan: Plan, ledger: Ledger, bases: Sequence[str], paid: Path) -> None:
        """``paid``: the file to which durable steps write that they were taken."""
        self._plan = plan
        self._args = {"ledger": str(paid)}
        self._ledger = ledger
        self._bases = bases
        self._tokens = [self._sign_up() for _ in range(USERS)]
        self._threads: list[threading.Thread] = []
        self.readers: list[Reader] = []

    def run(self, began: float) -> None:
        """Ask for everything at its time; ``began`` by ``time.monotonic()``."""
        for ask in self._plan.asks:
            time.sleep(max(0.0, began + ask.at - time.monotonic()))
            thread = threading.Thread(target=self._carry_out, args=(ask,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def under_way(self) -> int:
        """How many askers and readers are not done yet."""
        return sum(thread.is_alive() for thread in [*self._threads, *self.readers])

    def reread(self) -> None:
        """Read every run's stream once more from its beginning, now that all is over."""
        for entry in list(self._ledger.accepted.values()):
            for index in range(len(entry.run_ids)):
                reader = Reader(self.api(entry.ask.user), self._ledger, entry, _AFTERWARDS, index)
                self.readers.append(reader)
                reader.start()
                reader.join(_REREAD_WITHIN)

    def api(self, user: int, seed: int = 0) -> Api:
        """A client of a user."""
        return Api(self._bases, self._ledger, self._tokens[user], seed)

    def _sign_up(self) -> str:
        api = Api(self._bases, self._ledger)
        account = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
        api.call("POST", "/api/auth/register", account)
        token = api.call("POST", "/api/auth/login", {**account, "token": True}).json()["token"]
        api.close()
        return str(token)

    def _carry_out(self, ask: Ask) -> None:
        api = self.api(ask.user, ask.number)
        try:
            entry = self._ask(api, ask)
            if entry is None:
                return
            watch_all(entry, self._ledger, lambda seed: self.api(ask.user, seed), self.readers)
            if ask.asked_twice:
                self._ask_again(api, entry)
            if ask.cancel_after is not None:
                time.sleep(ask.cancel_after)
                self._cancel(api, entry)
            for index, run_id in enumerate(entry.run_ids):
                self._send(api, ask, index, run_id)
            for run_id in entry.run_ids if _may_ask(ask) else ():
                while self._answer(api, ask, run_id):
                    pass
        except (Unanswered, Refused) as error:
            self._ledger.fail(ask, str(error))
        except Exception:
            self._ledger.fail(ask, f"its asker has failed: {traceback.format_exc()}")
        finally:
            api.close()

    def _ask(self, api: Api, ask: Ask) -> Accepted | None:
        for path, body, key in self._requests(ask):
            self._ledger.note(ask, f"asks {path} with the key {key}")
            answer = self._settle(api, ask, (path, body, key))
            if answer.status_code == 202:
                entry = self._ledger.accept(ask, answer.json(), (path, body, key))
                self._ledger.note(ask, f"202: runs {entry.run_ids} on thread {entry.thread_id}")
                return entry
            self._ledger.note(ask, f"{answer.status_code} {answer.text[:300]}")
            if answer.status_code != 409:  # the run of the input state may not have ended
                break
        self._ledger.fail(ask, f"was refused: {answer.status_code} {answer.text[:300]}")
        return None

    def _settle(self, api: Api, ask: Ask, request: RunRequest) -> httpx.Response:
        """The answer to a request, after which no earlier try of it is carried out any more.

        A try that got no answer may be carried out late, when the run has ended because of
        which the next try was refused with 409.
        """
        tried: list[str] = []

        def note(text: str) -> None:
            tried.append(text)
            self._ledger.note(ask, text)

        path, body, key = request
        answer = api.call("POST", path, body, key, note)
        deadline = time.monotonic() + GIVE_UP_AFTER
        while answer.status_code == 409 and tried and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = api.call("POST", path, body, key, note)
        return answer

    def _requests(self, ask: Ask) -> list[RunRequest]:
        """Where it is asked: on an earlier output if the plan says so, else on a new thread."""
        body = {
            "worker_id": ask.worker_id,
            "config": ask.config,
            "args": self._args if ask.worker_id == "program" else None,
            "messages": [{"role": "user", "content": ask.text}],
            "n": ask.count,
        }
        key = f"{self._plan.seed}-{ask.number}"
        requests = [("/api/runs", body, f"{key}-new")]
        earlier = [entry for entry in list(self._ledger.accepted.values()) if entry.ask.user == ask.user]
        if ask.branch is not None and earlier:
            chosen = earlier[int(ask.branch * len(earlier))]
            state = random.Random(ask.number).choice([*chosen.state_ids, chosen.input_state_id])
            path = f"/api/threads/{chosen.thread_id}/runs"
            requests.insert(0, (path, {**body, "input_state_id": state}, f"{key}-branch"))
        return requests

    def _ask_again(self, api: Api, entry: Accepted) -> None:
        path, body, key = entry.request
        self._ledger.note(entry.ask, "asks the same again")
        self._ledger.accept(entry.ask, api.call("POST", path, body, key).json(), entry.request)

    def _cancel(self, api: Api, entry: Accepted) -> None:
        for run_id in entry.run_ids:
            self._ledger.cancelled.add(run_id)
            self._ledger.note(entry.ask, f"cancels {run_id}")
            answer = api.call("POST", f"/api/runs/{run_id}/cancel")
            self._ledger.note(entry.ask, f"{answer.status_code} {answer.json()['run']['status']}")
            self._ledger.report(entry.ask, answer.json()["run"])

    def _send(self, api: Api, ask: Ask, index: int, run_id: str) -> None:
        """Send messages to a run, which may have ended."""
        for after, text in ask.sends:
            time.sleep(after)
            text = f"{text} to {index}"
            notes: list[str] = []
            body = {"messages": [{"role": "user", "content": text}]}
            key = f"{run_id} {index} {after}"
            answer = api.call("POST", f"/api/runs/{run_id}/messages", body, key, notes.append)
            self._ledger.note(ask, f"sends {text!r} to {run_id}: {answer.status_code} {notes}")
            sent = Sent(text, answer.status_code == 202, bool(notes))
            self._ledger.sent.setdefault(run_id, []).append(sent)
            if answer.status_code not in (202, 409):
                self._ledger.fail(ask, f"what was sent to {run_id} was refused: {answer.text[:300]}")

    def _answer(self, api: Api, ask: Ask, run_id: str) -> bool:
        """Answer what the run asks as soon as it does; False where it ends without asking."""
        while True:
            run = api.call("GET", f"/api/runs/{run_id}").json()["run"]
            self._ledger.report(ask, run)
            if run["finished_at"]:
                return False
            if run["status"] == "waiting":
                break
            time.sleep(_POLL_INTERVAL)
        asked = run["confirmation"]
        given = {
            "confirmation_id": asked["id"],
            "answer": "yes" if asked["options"] else f"answer to {asked['prompt']}",
        }
        self._ledger.note(ask, f"answers {run_id}")
        notes: list[str] = []
        answer = api.call("POST", f"/api/runs/{run_id}/answer", given, note=notes.append)
        self._ledger.note(ask, f"{answer.status_code} {notes}")
        if answer.status_code == 202 or (notes and answer.status_code == 409):
            return True
        if run_id not in self._ledger.cancelled:
            self._ledger.fail(ask, f"the answer to {run_id} was refused: {answer.text[:300]}")
        return False


def _may_ask(ask: Ask) -> bool:
    return any(kind == "confirmation" for kind, _ in ask.expected)

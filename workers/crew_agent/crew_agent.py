"""A crew: a planner splits the goal, executors work on its tasks at the same time, a supervisor joins them.

The crew asks no model itself: each member is a sub-run, and what was called once is found again by
a later attempt, with its result. So nothing here needs a durable step of its own, as long as the
same results lead to the same calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.sdk import Failure, Run
from runtime.sdk.calls import Call
from runtime.sdk.window import instruction

_MOST_OF_A_RESULT = 20_000
"""Characters of what an executor has found that others are told."""
_LONGEST_TITLE = 200
_TOKENS = ("input_tokens", "output_tokens")


@dataclass
class Task:
    """One part of the plan."""

    id: str
    """Of its call: the turn and its number in that."""
    title: str
    instruction: str
    split: bool
    """Whether a crew of its own is to do it."""
    status: str = ""
    """How its run has ended."""
    result: str = ""

    def listed(self) -> dict[str, str]:
        """As the plan's message has it."""
        return {"call_id": self.id, "title": self.title, **({"status": self.status} if self.status else {})}


@dataclass
class Budget:
    """The tokens that the crew may use."""

    most: int | None
    used: int = 0
    unknown: list[str] = field(default_factory=list)
    """Workers that have succeeded and not said what they used."""

    def count(self, worker: str, call: Call) -> None:
        """Add what a sub-run and all below it have used."""
        amounts = [call.usage, call.usage_below]
        told = [usage[name] for usage in amounts for name in _TOKENS if isinstance(usage.get(name), int)]
        self.used += sum(told)
        if not told and call.status == "success":
            self.unknown.append(worker)

    def check(self) -> None:
        """Raises Failure where nothing more may be begun."""
        if self.most is None:
            return
        if self.used >= self.most:
            raise Failure(f"The budget of {self.most} tokens is used up: the crew has used {self.used}.")
        if self.unknown:
            silent = self.unknown[0]
            raise Failure(f"{silent} does not say how many tokens it uses, so no budget can be kept to.")

    def share(self, among: int) -> dict[str, int]:
        """What each of so many crews below this one may use."""
        return {} if self.most is None else {"budget_tokens": max(1, (self.most - self.used) // among)}


def run(run: Run) -> Iterator[str]:
    """Reach the goal, or say why not."""
    goal = "\n\n".join(run.messages[place].as_text() for place in instruction(run.messages)).strip()
    if not goal:
        raise Failure("There is no goal for the crew.")
    budget = Budget(run.config.get("budget_tokens"))
    done: list[Task] = []
    tasks = _plan(run, budget)
    author = run.config.get("planner", "planner_agent")
    for turn in range(1, run.config.get("max_turns", 3) + 1):
        budget.check()
        _work(run, goal, tasks, done, author, budget)
        done += tasks
        budget.check()
        decision = _judge(run, goal, turn, done, budget)
        if decision["decision"] == "answer":
            yield str(decision["text"])
            run.finish("The supervisor finds the goal reached.")
            return
        if decision["decision"] == "stop":
            raise Failure(f"The supervisor has stopped the crew: {decision['text']}")
        author = run.config.get("supervisor", "supervisor_agent")
        tasks = _tasks(decision.get("tasks"), turn + 1, run)
    raise Failure("The crew has not reached the goal within the turns that it may have.")


def _plan(run: Run, budget: Budget) -> list[Task]:
    worker = run.config.get("planner", "planner_agent")
    run.step("Planning")
    conversation = [{"role": role, "content": text} for role, text in run.conversation()]
    config = {"max_tasks": _width(run), **_model(run)}
    if run.config.get("depth", 1) > 1:
        config["may_split"] = True
    call = run.call(worker, conversation, config=config, id="plan")
    return _tasks(_json_of(worker, call, budget).get("tasks"), 1, run)


def _work(
    run: Run, goal: str, tasks: Sequence[Task], done: Sequence[Task], author: str, budget: Budget
) -> None:
    """Have all tasks done at the same time. The plan is shown, and ticked as their runs end."""
    run.step(f"Working on {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}")
    shown = run.start(author=author, data={"checklist": [task.listed() for task in tasks]})
    shown.delta("\n".join(f"- [ ] {task.title}" for task in tasks))
    crews = sum(task.split for task in tasks)
    calls = [_begin(run, goal, task, done, budget.share(crews) if task.split else {}) for task in tasks]
    for task, (worker, call) in zip(tasks, calls, strict=True):
        _refuse_for_the_moment(call)
        budget.count(worker, call)
        task.status = call.status
        task.result = call.text if call.status == "success" else str((call.error or {}).get("message"))
    shown.end({"checklist": [task.listed() for task in tasks]})


def _begin(
    run: Run, goal: str, task: Task, done: Sequence[Task], share: Mapping[str, int]
) -> tuple[str, Call]:
    """The sub-run of a task, and of which worker it is."""
    parts = [f"The goal of all:\n{goal}"]
    if done:
        parts.append(f"What has come of the tasks so far:\n{_report(done)}")
    parts.append(f"Your task: {task.title}\n{task.instruction}")
    if task.split:
        worker = str(run.fields.get("worker_id") or "crew_agent")
        config = {**run.config, **share, "depth": run.config["depth"] - 1}
    else:
        worker = run.config.get("executor", "executor_agent")
        config = {**_model(run), **run.config.get("executor_config", {})}
    return worker, run.call(worker, "\n\n".join(parts), config=config, id=task.id)


def _judge(run: Run, goal: str, turn: int, done: Sequence[Task], budget: Budget) -> dict[str, Any]:
    worker = run.config.get("supervisor", "supervisor_agent")
    run.step("Joining the results")
    left = run.config.get("max_turns", 3) - turn
    said = f"The goal:\n{goal}\n\nWhat has come of the tasks:\n{_report(done)}"
    if not left:
        said += "\n\nThere is no turn left for a repair: answer with what is there, or stop."
    call = run.call(worker, said, config={"max_tasks": _width(run), **_model(run)}, id=f"judge {turn}")
    decision = _json_of(worker, call, budget)
    if decision.get("decision") not in ("answer", "repair", "stop") or "text" not in decision:
        raise Failure(f"{worker} has made no decision that a crew understands.")
    return decision


def _json_of(worker: str, call: Call, budget: Budget) -> dict[str, Any]:
    """What a member has said in JSON. Raises Failure."""
    _refuse_for_the_moment(call)
    if call.status != "success":
        raise Failure(f"{worker} has failed: {(call.error or {}).get('message')}")
    budget.count(worker, call)
    for message in reversed(call.messages):
        if message.type == "code" and message.data.get("language") == "json":
            try:
                value = json.loads(message.content)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                return value
    raise Failure(f"{worker} has given no JSON; another worker is needed in its place.")


def _refuse_for_the_moment(call: Call) -> None:
    """Where there was no room for a sub-run: another attempt finds the others and makes this one."""
    if call.status != "success" and call.run_id is None and (call.error or {}).get("retryable"):
        raise Failure(str((call.error or {})["message"]), retryable=True)


def _tasks(planned: Any, turn: int, run: Run) -> list[Task]:
    """The tasks in JSON of a member; its schema has checked them, if it is one of ours."""
    may_split = run.config.get("depth", 1) > 1
    try:
        return [
            Task(
                id=f"task {turn}.{number}",
                title=" ".join(str(task["title"]).split())[:_LONGEST_TITLE] or f"Task {number}",
                instruction=str(task["instruction"]),
                split=may_split and task.get("split") is True,
            )
            for number, task in enumerate(planned[: _width(run)], 1)
        ] or _no_tasks()
    except (TypeError, KeyError, AttributeError):
        return _no_tasks()


def _no_tasks() -> list[Task]:
    raise Failure("There is no task in the plan.")


def _report(tasks: Sequence[Task]) -> str:
    """What has come of tasks, for a model."""
    return "\n\n".join(
        f"## {task.title}\n"
        + (
            task.result[:_MOST_OF_A_RESULT] or "(no answer)"
            if task.status == "success"
            else f"This failed: {task.result}"
        )
        for task in tasks
    )


def _width(run: Run) -> int:
    return int(run.config.get("width", 3))


def _model(run: Run) -> dict[str, str]:
    return {"model": run.config["model"]} if "model" in run.config else {}

"""What a queue promises to the line, as tests that anybody can run against theirs."""

from __future__ import annotations

import inspect
import pickle
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from queue_consumer import CleanupError, Consumer

from ._custody import CustodyClauses
from ._workbench import FIGURES, VERBS, at_once, listed, listed_or_empty, names, needs, same, takes_limit

__all__ = ["QueueContract"]


class QueueContract(CustodyClauses):
    """The tests that a queue passes if it works with a `Consumer`: subclass it, and say how to make yours.

        class TestMyQueue(QueueContract):
            verbs = {"get", "cleanup", "release", "put"}

            def make_queue(self):
                return MyQueue(url, wait=0.1)

    pytest finds it as it is; for unittest let the class inherit from `unittest.TestCase` as well. What fails
    says in a sentence what the queue does and what it should do. A queue may do without any verb but `get`:
    if `verbs` says which it has, only those are tested, and must be there; otherwise they are looked for, and
    tests of missing ones are skipped.

    Every test makes a queue of its own, which has to be empty. Let its `get` wait as shortly as it can, and its
    leases be as short as they can: some tests take four of them.

    Attributes:
        verbs: the verbs that the queue has, beside `get`: some of "interrupt", "cleanup", "release", "attempt",
            "identity", "extend", "lease", "ordering_key", "cleanup_limit", "put", "put_many", "stats", "close".
            None: those that are found.
        patience: seconds within which something put in must come out, and an empty `get` must return.
        soon: seconds within which an interrupted `get` must return.
        delay: seconds that delayed items are delayed by: so many that they cannot pass by accident.
        picklable: items can be sent to another process.
        holds_keys: while an item of a key is out, or waits for its delay, the queue gives no other of that key,
            and what is released goes back to its place: as FIFO queues do.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What is not there to be tested is left out, not skipped: a skip looks like something to do.
        if cls.verbs is not None:
            unknown = set(cls.verbs) - {*VERBS, *FIGURES}
            if unknown:
                raise ValueError(f"{cls.__name__}: verbs names {', '.join(sorted(unknown))}, of which nothing is known")
        for name, test in [*vars(CustodyClauses).items(), *vars(QueueContract).items()]:
            wanted: tuple[str, ...] = getattr(test, "needs", ())
            if cls.verbs is not None and not {*cls.verbs, "get"}.issuperset(wanted):
                setattr(cls, name, None)
            elif getattr(cls, name) is None:  # a queue that is asked for less is the parent
                setattr(cls, name, test)
        if cls.spoil is QueueContract.spoil:
            cls.test_cleanup_that_fails_says_for_which = None  # type: ignore[assignment]
        if not cls.picklable:
            cls.test_items_survive_pickling = None  # type: ignore[assignment]
        if not cls.holds_keys:
            cls.test_a_key_is_held_back_while_an_item_of_it_is_out = None  # type: ignore[assignment]
            cls.test_release_keeps_the_place_in_its_key = None  # type: ignore[assignment]

    # The shape of it.

    def test_verbs_take_the_arguments_they_must(self) -> None:
        """A verb is found if it can be called with its arguments; one that is not found helps nobody."""
        with self.queue() as queue:
            for verb in self.verbs or ():
                found = hasattr(queue, verb) if verb in FIGURES else callable(getattr(queue, verb, None))
                assert found, f"the queue has no {verb}, which verbs says it has"
            for verb, (args, kwargs) in VERBS.items():
                function = getattr(queue, verb, None)
                if not callable(function):
                    continue
                try:
                    room = {"limit": 1} if verb == "get" and takes_limit(function) else {}
                    inspect.signature(function).bind(*args, **kwargs, **room)
                except TypeError as error:
                    raise AssertionError(
                        f"{verb}{inspect.signature(function)} cannot be called as the line would "
                        f"call it ({error}), so a Consumer does without it"
                    ) from None
                except ValueError:
                    pass  # it keeps its signature to itself
            assert callable(getattr(queue, "get", None)), "the queue has no method get(), which is the one it must have"

    # get

    def test_get_gives_all_that_was_put_in(self) -> None:
        """What was put in comes out unchanged, each of it once."""
        with self.queue(bodies := names(7)) as queue:
            same(self.drain(queue, len(bodies)), bodies, self, "get() gives")
            self.expect_nothing(queue, "after all that was put in has come out, get() still gives")

    def test_get_of_an_empty_queue_gives_nothing(self) -> None:
        """Where there is nothing, `get` returns, and gives nothing; it does not raise."""
        with self.queue() as queue:
            self.expect_nothing(queue, "get() of an empty queue gives")

    def test_get_keeps_to_its_limit(self) -> None:
        """A `get` that takes a limit gives no more than that; a Consumer has no room for more."""
        with self.queue(names(5)) as queue:
            if not takes_limit(queue.get):
                return
            for limit in (1, 2):
                items = listed(self.call(queue.get, limit=limit))
                assert len(items) <= limit, (
                    f"get(limit={limit}) gives {len(items)} items, and must give {limit} at most"
                )

    def test_get_hides_what_it_gave(self) -> None:
        """An item that was given, and is neither cleaned up nor released, is not given again."""
        with self.queue(bodies := names(3)) as queue:
            first = self.drain(queue, 3)
            self.expect_nothing(queue, "while all items are still being handled, get() gives again")
            same(first, bodies, self, "get() gives")

    def test_get_gives_no_item_to_two_threads(self) -> None:
        """Any number of threads call `get`; each item goes to one of them."""
        with self.queue(bodies := names(40)) as queue:
            taken: list[Any] = []
            errors: list[BaseException] = []
            until = time.monotonic() + self.patience
            together = threading.Barrier(4)

            def getter() -> None:
                try:
                    together.wait(self.patience)
                    while len(taken) < len(bodies) and time.monotonic() < until:
                        taken.extend(listed_or_empty(lambda: self.ask(queue)))
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=getter, daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(self.patience + self.soon)
            assert not errors, f"get() raises {errors[0]!r} when several threads call it"
            same(taken, bodies, self, "called by four threads, get() gives")

    # interrupt

    @needs("interrupt")
    def test_interrupt_ends_a_get_that_waits(self) -> None:
        """A Consumer that stops interrupts those who wait in `get`; otherwise it would have to wait, too."""
        with self.queue() as queue:
            waiting = self.background(lambda: listed_or_empty(lambda: self.ask(queue)))
            # It may not be in get() yet, and nobody can tell; whoever stops a line interrupts it until it has
            # ended.
            until = time.monotonic() + self.soon
            while waiting.is_alive() and time.monotonic() < until:
                self.call(queue.interrupt)
                waiting.join(0.01)
            assert not waiting.is_alive(), f"get() still waits, {self.soon:g} s after interrupt()"

    @needs("interrupt")
    def test_get_works_after_an_interrupt(self) -> None:
        """An interrupt ends the gets that wait, not the queue: another Consumer may use it next."""
        with self.queue() as queue:
            self.call(queue.interrupt)
            self.fill(queue, bodies := names(3))
            same(self.drain(queue, 3), bodies, self, "after an interrupt(), get() gives")

    # cleanup

    @needs("cleanup")
    def test_cleanup_is_for_good(self) -> None:
        """What was cleaned up never comes again."""
        with self.queue(names(3)) as queue:
            self.call(queue.cleanup, self.drain(queue, 3))
            self.wait_until_visible(queue, self.delay)
            self.expect_nothing(queue, "after all items were cleaned up, get() gives again")

    @needs("cleanup", "release")
    def test_cleanup_concerns_no_other_item(self) -> None:
        """Some of a bulk are cleaned up, some go back; those that go back come again, and only those."""
        with self.queue(names(4)) as queue:
            items = self.drain(queue, 4)
            self.call(queue.cleanup, items[:2])
            self.call(queue.release, items[2:], 0)
            again = self.drain(queue, 2)
            same(
                again,
                [self.body_of(item) for item in items[2:]],
                self,
                "of 4 items, 2 cleaned up, get() gives again",
            )

    @needs("cleanup")
    def test_cleanup_takes_items_of_several_gets(self) -> None:
        """A Consumer gathers what was handled; it does not remember which items came together."""
        with self.queue() as queue:
            items: list[Any] = []
            for body in names(3):
                self.fill(queue, [body])
                items += self.drain(queue, 1)
            try:
                self.call(queue.cleanup, items)
            except Exception as error:
                raise AssertionError(f"cleanup() of items that came from several gets raises {error!r}") from error
            self.expect_nothing(queue, "after all items were cleaned up in one call, get() gives again")

    @needs("cleanup")
    def test_cleanup_that_fails_says_for_which(self) -> None:
        """If some items cannot be cleaned up, `CleanupError.failed` holds those objects, and no others."""
        with self.queue(names(3)) as queue:
            items = self.drain(queue, 3)
            bad = items[1]
            self.spoil(queue, bad)
            try:
                self.call(queue.cleanup, items)
            except CleanupError as error:
                failed = error.failed
            except Exception as error:
                raise AssertionError(
                    f"cleanup() of 3 items, of which one fails, raises {error!r}, from which nobody "
                    "can tell which one: it should raise CleanupError(failed=[...])"
                ) from error
            else:
                raise AssertionError(
                    "cleanup() of 3 items, of which one fails, does not raise: it counts as cleaned up"
                )
            just_that = len(failed) == 1 and failed[0] is bad
            assert just_that, (
                f"cleanup() fails for one item of 3, and CleanupError.failed names {len(failed)} "
                f"{'others' if not any(one is bad for one in failed) else 'items'}: "
                "it must hold the very object that failed, and no other"
            )

    @needs("cleanup", "cleanup_limit")
    def test_cleanup_limit_is_the_most_that_cleanup_takes(self) -> None:
        """A Consumer puts so many items into one cleanup, and never more."""
        with self.queue() as queue:
            limit = queue.cleanup_limit
            if limit is None:
                return
            whole = isinstance(limit, int) and limit >= 1
            assert whole, f"cleanup_limit is {limit!r}, and must be a whole number of at least 1"
            limit = min(limit, 1000)
            self.fill(queue, names(limit))
            items = self.drain(queue, limit)
            try:
                self.call(queue.cleanup, items)
            except Exception as error:
                raise AssertionError(
                    f"cleanup_limit is {limit}, and cleanup() of {limit} items raises {error!r}"
                ) from error

    # release

    @needs("release")
    def test_release_shows_an_item_again(self) -> None:
        """What was released is given again, with the same body."""
        with self.queue(bodies := names(3)) as queue:
            self.call(queue.release, self.drain(queue, 3), 0)
            same(self.drain(queue, 3), bodies, self, "after all were released, get() gives")

    @needs("release")
    def test_release_works_without_a_delay(self) -> None:
        """The delay of `release` is optional, and then it is none."""
        with self.queue(bodies := names(1)) as queue:
            try:
                self.call(queue.release, self.drain(queue, 1))
            except TypeError as error:
                raise AssertionError(f"release(items) without a delay raises {error!r}") from error
            same(self.drain(queue, 1), bodies, self, "after release(items) without a delay, get() gives")

    @needs("release")
    def test_release_hides_an_item_for_its_delay(self) -> None:
        """A failed item comes back later, not at once; otherwise it is a hot loop."""
        with self.queue(bodies := names(1)) as queue:
            self.call(queue.release, self.drain(queue, 1), self.delay)
            self.expect_nothing(queue, f"after release(items, {self.delay:g}), get() gives at once")
            self.wait_until_visible(queue, self.delay)
            same(
                self.drain(queue, 1),
                bodies,
                self,
                f"{self.delay:g} s after release(items, {self.delay:g}), get() gives",
            )

    @needs("release")
    def test_release_concerns_no_other_item(self) -> None:
        """Releasing one item does not show those that came with it."""
        with self.queue(names(3)) as queue:
            items = self.drain(queue, 3)
            self.call(queue.release, items[:1], 0)
            same(
                self.drain(queue, 1),
                [self.body_of(items[0])],
                self,
                "of 3 items, 1 released, get() gives again",
            )
            self.expect_nothing(queue, "of 3 items only 1 was released, and get() gives another")

    # attempt and identity

    @needs("attempt", "release")
    def test_attempt_counts_deliveries(self) -> None:
        """The first delivery is attempt 1, and each one after a release is one more; back-offs grow by it."""
        with self.queue(names(1)) as queue:
            for expected in (1, 2, 3):
                [item] = self.drain(queue, 1)
                attempt = self.call(queue.attempt, item)
                assert attempt == expected, f"at delivery {expected} of an item, attempt() says {attempt!r}"
                self.call(queue.release, [item], 0)

    @needs("attempt", "release")
    def test_attempts_of_one_item_are_not_those_of_another(self) -> None:
        """Attempts are counted for each item by itself."""
        with self.queue(names(1)) as queue:
            self.call(queue.release, self.drain(queue, 1), 0)
            self.drain(queue, 1)
            self.fill(queue, ["fresh"])
            [item] = self.drain(queue, 1)
            attempt = self.call(queue.attempt, item)
            assert attempt == 1, (
                f"at the first delivery of an item, after others were delivered, attempt() says {attempt!r}"
            )

    @needs("identity", "release")
    def test_identity_stays_the_same(self) -> None:
        """When a message comes again, its identity says that it is the same."""
        with self.queue(names(1)) as queue:
            [item] = self.drain(queue, 1)
            identity = self.call(queue.identity, item)
            try:
                hash(identity)
            except TypeError:
                raise AssertionError(f"identity() gives {identity!r}, which is not hashable") from None
            assert identity is not None, "identity() gives None for an item, so it is nobody"
            self.call(queue.release, [item], 0)
            [item] = self.drain(queue, 1)
            again = self.call(queue.identity, item)
            assert again == identity, f"identity() gives {identity!r}, and when the item comes again {again!r}"

    @needs("identity")
    def test_identity_is_not_content(self) -> None:
        """Two messages that are equal are still two."""
        with self.queue(["the same", "the same"]) as queue:
            one, other = [self.call(queue.identity, item) for item in self.drain(queue, 2)]
            assert one != other, (
                f"identity() gives {one!r} for two messages with the same body: one would count as a copy"
            )

    # put

    @needs("put")
    def test_put_sends_one(self) -> None:
        """What was put comes out as it was put."""
        with self.queue() as queue:
            self.call(queue.put, "a body")
            same(self.drain(queue, 1), ["a body"], self, "after put('a body'), get() gives")

    @needs("put")
    def test_put_hides_an_item_for_its_delay(self) -> None:
        """What is put with a delay is not seen before it has passed."""
        with self.queue() as queue:
            self.call(queue.put, "later", delay=self.delay)
            self.expect_nothing(queue, f"after put(body, delay={self.delay:g}), get() gives at once")
            self.wait_until_visible(queue, self.delay)
            same(
                self.drain(queue, 1),
                ["later"],
                self,
                f"{self.delay:g} s after put(body, delay={self.delay:g}), get() gives",
            )

    @needs("put")
    def test_put_sends_attributes(self) -> None:
        """Attributes come out with the item, where items have any."""
        with self.queue() as queue:
            self.call(queue.put, "a body", attributes={"colour": "red"})
            [item] = self.drain(queue, 1)
            if hasattr(item, "attributes"):
                colour = item.attributes.get("colour")
                assert colour == "red", (
                    f"after put(body, attributes={{'colour': 'red'}}), the item's colour is {colour!r}"
                )

    @needs("put_many")
    def test_put_many_sends_each(self) -> None:
        """Each entry maps put's parameters to its arguments."""
        with self.queue() as queue:
            bodies = names(12)
            self.call(queue.put_many, [{"body": body} for body in bodies])
            same(self.drain_and_finish(queue, 12), bodies, self, "after put_many() of 12 entries, get() gives")

    # the rest

    @needs("stats")
    def test_stats_is_a_mapping_and_changes_nothing(self) -> None:
        """Figures are shown in `Stats.queue`; asking for them must be free of consequences."""
        with self.queue(bodies := names(3)) as queue:
            stats = self.call(queue.stats)
            assert is_mapping(stats), f"stats() gives a {type(stats).__name__}, and must give a mapping"
            strange = [name for name in stats if not isinstance(name, str)]
            assert not strange, f"stats() has the key {strange[0]!r}, and its keys must be strings"
            same(self.drain(queue, 3), bodies, self, "after stats(), get() gives")

    @needs("close")
    def test_close_can_be_called_after_use(self) -> None:
        """A Consumer closes its queue last, when everything has been cleaned up or released."""
        with self.queue(names(1)) as queue:
            self.drain(queue, 1)
            try:
                closing = self.background(lambda: self.call(queue.close))
                closing.join(self.patience)
                assert not closing.is_alive(), f"close() has not returned after {self.patience:g} s"
                if closing.error is not None:
                    raise closing.error
            except Exception as error:
                raise AssertionError(f"close() after use raises {error!r}") from error

    def test_items_survive_pickling(self) -> None:
        """What is handled in another process gets there by pickling."""
        with self.queue(names(1)) as queue:
            [item] = self.drain(queue, 1)
            try:
                copy = pickle.loads(pickle.dumps(item))
            except Exception as error:
                raise AssertionError(f"an item cannot be pickled and unpickled: {error!r}") from error
            same([copy], [self.body_of(item)], self, "a pickled item has")

    def test_messages_have_an_id_a_body_and_attributes(self) -> None:
        """An item that has a `body` is a message, and then jobs and subscribers count on all three."""
        with self.queue(names(1)) as queue:
            [item] = self.drain(queue, 1)
            if not hasattr(item, "body"):
                return
            id = getattr(item, "id", None)
            named = isinstance(id, str) and id
            assert named, f"an item has a body, and its id is {id!r}, and must be a string"
            attributes = getattr(item, "attributes", None)
            assert isinstance(attributes, Mapping), (
                f"an item has a body, and its attributes are {attributes!r}: no mapping"
            )

    # the whole

    def test_consumer_handles_everything(self) -> None:
        """A Consumer over the queue handles each item once, and its ledger balances."""
        with self.queue(bodies := names(50)) as queue:
            handled: list[Any] = []

            def handler(items: Iterator[Any]) -> None:
                for item in items:
                    handled.append(item)

            consumer = Consumer(queue, handler, max_workers=2, max_handlers=2, owns_queue=False)
            with consumer:
                self.until(lambda: len(handled) >= len(bodies))
                consumer.wait_idle(self.patience)
            report = consumer.shutdown()
            assert report.balanced, f"the ledger of a Consumer over the queue does not balance: {report}"
            assert report.stats.cleaned == len(handled), (
                f"a Consumer handled {len(handled)} items, and could clean up {report.stats.cleaned}: {report}"
            )
            same(handled, bodies, self, "a Consumer over the queue handles")
            self.expect_nothing(queue, "after a Consumer has cleaned up all items, get() gives again")

    @needs("release")
    def test_consumer_handles_again_what_failed(self) -> None:
        """What failed is released, and comes again."""
        with self.queue(bodies := names(4)) as queue:
            seen: Counter[Any] = Counter()

            def handler(items: Iterator[Any]) -> None:
                for item in items:
                    seen[self.body_of(item)] += 1
                    if seen[self.body_of(item)] == 1:
                        raise RuntimeError("the first time fails, on purpose")

            consumer = Consumer(queue, handler, max_workers=1, max_handlers=1, backoff=at_once, owns_queue=False)
            with consumer:
                self.until(lambda: sum(seen.values()) >= 2 * len(bodies))
                consumer.wait_idle(self.patience)
            wrong = {body: times for body, times in seen.items() if times != 2}
            twice_each = not wrong and len(seen) == len(bodies)
            assert twice_each, (
                f"each of {len(bodies)} items fails once and is released, so that a Consumer handles it "
                f"twice, and it handled {dict(seen)!r}"
            )
            report = consumer.shutdown()
            assert report.balanced, f"the ledger of a Consumer over the queue does not balance: {report}"


def is_mapping(answer: object) -> bool:
    return isinstance(answer, Mapping)

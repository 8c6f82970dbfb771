"""The part of the contract that is about custody: leases, and the keys by which a queue orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queue_consumer import LeaseLost

from ._workbench import Workbench, listed_or_empty, names, needs, same


class CustodyClauses(Workbench):
    """What a queue promises that has leases, or an order of its own."""

    # lease and extend

    @needs("lease")
    def test_lease_is_a_number_of_seconds(self) -> None:
        """A Consumer renews leases at half-time, and has to know when that is."""
        with self.queue() as queue:
            lease = queue.lease
            seconds = isinstance(lease, (int, float)) and not isinstance(lease, bool) and lease > 0
            assert seconds, f"lease is {lease!r}, and must be a number of seconds above 0"

    @needs("lease")
    def test_item_comes_again_when_its_lease_has_run_out(self) -> None:
        """Whoever took it may have died: the same message is given once more, at a higher attempt."""
        verbs = self.verbs_found()
        with self.queue(bodies := names(1)) as queue:
            [item] = self.drain(queue, 1)
            identity = self.call(queue.identity, item) if "identity" in verbs else None
            attempt = self.call(queue.attempt, item) if "attempt" in verbs else 0
            self.expect_nothing(queue, "before the lease of the only item has run out, get() gives again")
            self.wait_until_visible(queue, queue.lease)
            [again] = self.drain(queue, 1)
            same([again], bodies, self, f"after the lease of {queue.lease:g} s has run out, get() gives")
            if "identity" in verbs:
                now = self.call(queue.identity, again)
                assert now == identity, f"identity() gives {identity!r}, and when the lease has run out {now!r}"
            if "attempt" in verbs:
                now = self.call(queue.attempt, again)
                assert now > attempt, f"attempt() says {attempt!r}, and when the lease has run out {now!r}"

    @needs("lease", "extend")
    def test_extend_hides_an_item_from_now_on(self) -> None:
        """An item that takes long is kept from others for as long as was said, and no longer."""
        with self.queue(bodies := names(1)) as queue:
            lease = queue.lease
            self.call(queue.extend, self.drain(queue, 1), 3 * lease)
            self.wait_until_visible(queue, 2 * lease)
            self.expect_nothing(queue, f"{2 * lease:g} s after extend(items, {3 * lease:g}), get() gives again")
            self.wait_until_visible(queue, lease)
            same(
                self.drain(queue, 1),
                bodies,
                self,
                f"{3 * lease:g} s after extend(items, {3 * lease:g}), get() gives",
            )

    @needs("lease", "extend")
    def test_extend_concerns_no_other_item(self) -> None:
        """Extending one item does not keep those that came with it."""
        with self.queue(names(2)) as queue:
            kept, other = self.drain(queue, 2)
            self.call(queue.extend, [kept], 3 * queue.lease)
            self.wait_until_visible(queue, queue.lease)
            sentence = "of 2 items 1 was extended, and when the lease of the other has run out, get() gives"
            same(self.drain(queue, 1), [self.body_of(other)], self, sentence)

    @needs("lease", "extend")
    def test_extend_says_which_are_lost(self) -> None:
        """`LeaseLost.items` holds the very objects whose leases are gone, no others; and the rest is extended."""
        with self.queue(names(3)) as queue:
            lease = queue.lease
            lost, *kept = items = self.drain(queue, 3)
            self.call(queue.extend, kept, 3 * lease)
            self.wait_until_visible(queue, lease)
            try:
                self.call(queue.extend, items, 4 * lease)
            except LeaseLost as error:
                named = error.items
            except Exception as error:
                raise AssertionError(
                    f"extend() of 3 items, of which one is lost, raises {error!r}, from which nobody can "
                    "tell which one: it should raise LeaseLost([...])"
                ) from error
            else:
                raise AssertionError(
                    "extend() of 3 items, of which one is lost, does not raise: whoever handles it never hears of it"
                )
            just_that = len(named) == 1 and named[0] is lost
            assert just_that, (
                f"extend() finds one item of 3 lost, and LeaseLost.items names {len(named)} "
                f"{'others' if not any(one is lost for one in named) else 'items'}: "
                "it must hold the very object that is lost, and no other"
            )
            same(self.drain(queue, 1), [self.body_of(lost)], self, "when one item of 3 is lost, get() gives")
            self.wait_until_visible(queue, 2 * lease)
            bodies = [self.body_of(item) for item in self.what_comes(queue)]
            again = [self.body_of(item) for item in kept if self.body_of(item) in bodies]
            assert not again, f"extend() says of one item that it is lost, and does not extend the others: {again!r}"

    @needs("lease", "cleanup")
    def test_late_cleanup_ends_no_newer_delivery(self) -> None:
        """Whoever lost an item and cleans it up too late does not take it from who has it now. It may raise."""
        with self.queue(bodies := names(1)) as queue:
            late, newer = self.lose(queue)
            if newer is late:
                return  # deliveries of a bare object are all the same
            self.quietly(queue.cleanup, [late])
            self.wait_until_visible(queue, queue.lease)
            sentence = "after a late cleanup() of a lost delivery, and when the newer one is lost as well, get() gives"
            same(self.what_comes(queue), bodies, self, sentence)

    @needs("lease", "release")
    def test_late_release_shows_no_newer_delivery(self) -> None:
        """Whoever lost an item and releases it too late does not take it from who has it now. It may raise."""
        with self.queue(names(1)) as queue:
            late, newer = self.lose(queue)
            if newer is late:
                return
            self.quietly(queue.release, [late], 0)
            sentence = "after a late release() of a lost delivery, while a newer one is held, get() gives"
            self.expect_nothing(queue, sentence)

    # ordering_key

    @needs("ordering_key")
    def test_ordering_key_tells_groups_apart(self) -> None:
        """Items of one group have one key, which is hashable; those of another have another."""
        with self.queue() as queue:
            for body in ("a1", "b1", "a2"):
                self.fill_group(queue, [body], body[0])
            items = self.drain_and_finish(queue, 3)
            keys = {self.body_of(item): self.call(queue.ordering_key, item) for item in items}
            for body, key in keys.items():
                try:
                    hash(key)
                except TypeError:
                    raise AssertionError(f"ordering_key() gives {key!r}, which is not hashable") from None
                assert key is not None, f"ordering_key() gives None for {body!r}, so it is in no order"
            one, two, other = (keys.get(body) for body in ("a1", "a2", "b1"))
            assert one == two, f"ordering_key() gives {one!r} and {two!r} for two items of one group"
            assert one != other, f"ordering_key() gives {one!r} for items of two groups: one would wait for the other"

    @needs("ordering_key", "release")
    def test_ordering_key_stays_the_same(self) -> None:
        """When an item comes again, it is in the same order as before."""
        with self.queue() as queue:
            self.fill_group(queue, ["a1"], "a")
            [item] = self.drain(queue, 1)
            key = self.call(queue.ordering_key, item)
            self.call(queue.release, [item], 0)
            [item] = self.drain(queue, 1)
            again = self.call(queue.ordering_key, item)
            assert again == key, f"ordering_key() gives {key!r}, and when the item comes again {again!r}"

    @needs("ordering_key")
    def test_order_is_kept_within_a_key(self) -> None:
        """What was put into a group first comes first."""
        with self.queue() as queue:
            bodies = [f"{group}{number}" for number in range(4) for group in "ab"]
            for body in bodies:
                self.fill_group(queue, [body], body[0])
            self.in_order(self.drain_and_finish(queue, len(bodies)), bodies, "get() gives")

    @needs("ordering_key")
    def test_a_key_is_held_back_while_an_item_of_it_is_out(self) -> None:
        """Whoever has an item of a key is alone with it; other keys go on."""
        with self.queue() as queue:
            for group in "ab":
                self.fill_group(queue, [f"{group}{number}" for number in range(3)], group)
            held = [self.body_of(item) for item in self.get_one(queue)]
            left = self.bodies_left(queue)
            out = {body[0] for body in held}
            again = [body for body in left if body[0] in out]
            assert not again, f"while {held!r} are held, get() gives, of the same key, {again!r}"
            assert {body[0] for body in left} == {"a", "b"} - out, (
                f"while {held!r} are held, get() gives {left!r}: other keys must go on"
            )

    @needs("ordering_key", "release")
    def test_release_keeps_the_place_in_its_key(self) -> None:
        """What failed is given again before what was put after it, and until then nothing of its key is."""
        with self.queue() as queue:
            bodies = [f"a{number}" for number in range(3)]
            self.fill_group(queue, bodies, "a")
            self.call(queue.release, self.get_one(queue), self.delay)
            self.expect_nothing(queue, "while a released item waits for its delay, get() gives, of its key,")
            self.wait_until_visible(queue, self.delay)
            self.in_order(self.drain_and_finish(queue, 3), bodies, "after a release, get() gives")

    # How it is done.

    def lose(self, queue: Any) -> tuple[Any, Any]:
        """The only item of a queue, which is lost, and the same as it was given again."""
        [late] = self.drain(queue, 1)
        self.wait_until_visible(queue, queue.lease)
        [newer] = self.drain(queue, 1)
        return late, newer

    def quietly(self, verb: Any, *args: Any) -> None:
        """Call a verb that may fail."""
        try:
            self.call(verb, *args)
        except Exception:
            pass  # it may say so, or not

    def what_comes(self, queue: Any) -> list[Any]:
        return listed_or_empty(lambda: self.get(queue))

    def bodies_left(self, queue: Any) -> list[Any]:
        """All that can be got now."""
        bodies: list[Any] = []
        while items := self.what_comes(queue):
            bodies += [self.body_of(item) for item in items]
        return bodies

    def in_order(self, items: Sequence[Any], bodies: Sequence[str], sentence: str) -> None:
        """Fail if those of a group, which is the first letter, are not in the order of `bodies`."""
        given = [self.body_of(item) for item in items]
        for group in sorted({body[0] for body in bodies}):
            ours = [body for body in given if body[0] == group]
            right = [body for body in bodies if body[0] == group]
            assert ours == right, f"{sentence} {ours!r} in this order, and should give {right!r}"

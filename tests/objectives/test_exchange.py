"""The exchange of pixels against a loop over cases with Python's integers, and what must always hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

from radgaze.draws import of_pairs, uniform, uniform_maps
from radgaze.objectives.config import Keep, Partner
from radgaze.objectives.exchange import ExchangeCases, exchange
from radgaze.objectives.perturbations import at_least, filling, widened

SIZE = (9, 12)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cases_of(count: int = 12, *, seed: int = 0, feathered: bool = False) -> ExchangeCases:
    """Cases of three classes, some of one patient, some without a region."""
    draw = generator(seed)
    retained = torch.rand(count, 1, *SIZE, generator=draw)
    retained = retained.clamp(0.2, 0.8) if feathered else (retained > 0.6).float()
    has_region = torch.rand(count, generator=draw) < 0.75
    return ExchangeCases(
        images=torch.rand(count, 1, *SIZE, generator=draw),
        retained=retained * has_region.view(-1, 1, 1, 1),
        has_region=has_region,
        labels=torch.eye(3)[torch.arange(count) % 3],
        patient=torch.arange(count) // 2,
        draw=torch.randint(2**63 - 1, (count,), generator=draw),
    )


def picked(cases: ExchangeCases, which: Tensor) -> ExchangeCases:
    return ExchangeCases(**{each.name: getattr(cases, each.name)[which] for each in fields(cases)})


def lowbias32(x: int) -> int:
    """The published function, on integers without a limit."""
    x &= 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def key(draw: int, purpose: int) -> int:
    return lowbias32(lowbias32((draw >> 32) + purpose) ^ draw)


def by_hand(cases: ExchangeCases, partner: Partner, keep: Keep, purpose: int) -> tuple[Tensor, list[int]]:
    """Case by case, pixel by pixel; the partner of a case without one is −1."""
    images, chosen = cases.images.clone(), []
    labels = [frozenset(np.flatnonzero(row).tolist()) for row in cases.labels.numpy()]
    for i, own in enumerate(labels):
        best, highest = -1, -1
        for j, other in enumerate(labels):
            alike = own == other if partner == "same_class" else bool(own & other) or own == other
            if cases.patient[i] == cases.patient[j]:
                continue
            if partner != "any" and alike != (partner == "same_class"):
                continue
            if keep == "both" and not cases.has_region[j]:
                continue
            pair = lowbias32(key(int(cases.draw[i]), 2 * purpose) ^ key(int(cases.draw[j]), 2 * purpose + 1))
            if pair > highest:
                best, highest = j, pair
        chosen.append(best)
        if best < 0 or not cases.has_region[i]:
            continue
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                share = float(cases.retained[i, 0, y, x])
                if keep == "both":
                    share = max(share, float(cases.retained[best, 0, y, x]))
                mixed = share * float(cases.images[i, 0, y, x]) + (1 - share) * float(
                    cases.images[best, 0, y, x]
                )
                images[i, 0, y, x] = mixed
    return images, chosen


@pytest.mark.parametrize("keep", ["own", "both"])
@pytest.mark.parametrize("partner", ["any", "other_class", "same_class"])
@pytest.mark.parametrize("feathered", [False, True])
def test_the_exchange_is_that_of_a_loop_over_cases(partner: Partner, keep: Keep, feathered: bool) -> None:
    cases = cases_of(feathered=feathered)
    expected, chosen = by_hand(cases, partner, keep, 7)
    assert len(set(chosen)) > 4
    images, has_partner = exchange(cases, partner=partner, keep=keep, purpose=7)
    torch.testing.assert_close(images, expected)
    assert has_partner.tolist() == [other >= 0 for other in chosen]


def marked(cases: ExchangeCases) -> ExchangeCases:
    """Cases whose pixels say where they come from: the case, and whether inside or outside of its region."""
    number = torch.arange(len(cases.images)).view(-1, 1, 1, 1).float()
    return replace(cases, images=(10 + number + 100 * cases.retained).expand_as(cases.images).contiguous())


@pytest.mark.parametrize("partner", ["any", "other_class", "same_class"])
def test_the_own_region_stays_and_nothing_of_the_partners_region_comes_in(partner: Partner) -> None:
    cases = marked(cases_of(40))
    images, has_partner = exchange(cases, partner=partner, keep="both", purpose=1)
    inside = cases.retained == 1
    assert torch.equal(images[inside], cases.images[inside])
    changed = has_partner & cases.has_region
    assert changed.sum() > 20
    assert torch.equal(images[~changed], cases.images[~changed])
    for i in changed.nonzero()[:, 0].tolist():
        foreign = images[i][images[i] != cases.images[i]]
        assert len(foreign) > 10
        assert (foreign < 100).all()  # from outside of the partner's region
        (source,) = set(foreign.long().tolist())  # from a single case
        source -= 10
        assert cases.patient[source] != cases.patient[i]
        outside = (cases.retained[i] == 0) & (cases.retained[source] == 0)
        assert torch.equal(images[i] != cases.images[i], outside)
        same = bool((cases.labels[i] == cases.labels[source]).all())
        assert partner == "any" or same == (partner == "same_class")


def test_keeping_only_the_own_region_takes_all_the_rest_of_the_partner() -> None:
    cases = marked(cases_of(40))
    images, has_partner = exchange(cases, partner="any", keep="own", purpose=1)
    changed = (has_partner & cases.has_region).view(-1, 1, 1, 1)
    assert torch.equal(images != cases.images, (cases.retained == 0) & changed)
    assert (images[(images != cases.images)] > 100).any()


def test_the_order_of_the_cases_has_no_part_in_it() -> None:
    cases = cases_of(20)
    order = torch.randperm(20, generator=generator(3))
    images, has_partner = exchange(cases, partner="other_class", keep="both", purpose=2)
    again, also = exchange(picked(cases, order), partner="other_class", keep="both", purpose=2)
    assert torch.equal(again, images[order])
    assert torch.equal(also, has_partner[order])
    assert not torch.equal(exchange(cases, partner="other_class", keep="both", purpose=3)[0], images)


def test_without_another_class_in_the_batch_images_stay_as_they_are() -> None:
    cases = cases_of(8)
    cases = replace(cases, labels=torch.eye(3)[torch.ones(8, dtype=torch.long)])
    images, has_partner = exchange(cases, partner="other_class", keep="own", purpose=1)
    assert torch.equal(images, cases.images)
    assert not has_partner.any()
    alone, has_partner = exchange(picked(cases, torch.tensor([2])), partner="any", keep="own", purpose=1)
    assert torch.equal(alone, cases.images[2:3])
    assert not has_partner.any()


def test_of_several_labels_other_classes_have_none_in_common_and_no_label_is_a_class_of_its_own() -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    cases = replace(
        picked(cases_of(5), torch.arange(5)),
        labels=labels,
        patient=torch.arange(5),
        has_region=torch.ones(5, dtype=torch.bool),
    )
    found: dict[str, set[tuple[int, int]]] = {"other_class": set(), "same_class": set()}
    numbered = replace(cases, images=torch.arange(5.0).view(-1, 1, 1, 1).expand(5, 1, *SIZE).contiguous())
    numbered = replace(numbered, retained=torch.zeros(5, 1, *SIZE))
    for purpose in range(60):
        for partner in ("other_class", "same_class"):
            images, has = exchange(numbered, partner=partner, keep="own", purpose=purpose)
            found[partner] |= {(i, int(images[i, 0, 0, 0])) for i in has.nonzero()[:, 0].tolist()}
    ordered = {(i, j) for i in range(5) for j in range(5)}
    apart = {(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)}
    assert found["other_class"] == {(i, j) for i, j in ordered if (i, j) in apart or (j, i) in apart}
    assert found["same_class"] == {(3, 4), (4, 3)}


def test_every_case_is_chosen_as_often_as_any_other() -> None:
    count, turns = 8, 600
    cases = replace(
        cases_of(count),
        images=torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, 1, *SIZE).contiguous(),
        retained=torch.zeros(count, 1, *SIZE),
        has_region=torch.ones(count, dtype=torch.bool),
        patient=torch.arange(count),
    )
    times = np.zeros((count, count))
    for purpose in range(turns):
        images, _ = exchange(cases, partner="any", keep="both", purpose=purpose)
        times[np.arange(count), images[:, 0, 0, 0].long().numpy()] += 1
    assert (np.diag(times) == 0).all()
    assert stats.chisquare(times[~np.eye(count, dtype=bool)]).pvalue > 1e-3


def test_draws_are_the_published_functions_and_uniform() -> None:
    draw = torch.randint(2**63 - 1, (4000,), generator=generator(0))
    found = uniform(draw, 5)
    expected = [(key(int(each), 5) >> 8) / 2**24 for each in draw[:50]]
    assert found[:50].tolist() == expected
    assert stats.kstest(found.numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(found.numpy(), uniform(draw, 6).numpy())[0, 1]) < 0.05
    maps = uniform_maps(draw[:3], 5, (30, 40))
    assert maps.shape == (3, 1, 30, 40)
    assert 0 <= float(maps.min()) < float(maps.max()) < 1
    assert stats.kstest(maps.flatten().numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(maps.flatten(1).numpy())[~np.eye(3, dtype=bool)]).max() < 0.1
    assert (
        len(set(of_pairs(draw[:60], draw[:60], 1).flatten().tolist())) > 3500
    )  # nor the same for (a, b) and (b, a)


@pytest.mark.parametrize("size", [(20, 20), (32, 48)])
def test_a_region_grows_like_scipys_dilation_and_falls_off_outside_of_it(size: tuple[int, int]) -> None:
    inside = torch.zeros(2, 1, *size, dtype=torch.bool)
    inside[0, 0, 5:8, 3:9] = True
    inside[1, 0, 0, size[1] - 1] = True  # at the border
    dilation, feather = 0.1, 0.2
    down, across = (round(dilation * side) for side in size)
    grown = widened(inside, dilation, 0.0)
    soft = widened(inside, dilation, feather)
    for case in range(2):
        square = np.ones((2 * down + 1, 2 * across + 1), dtype=bool)
        expected = ndimage.binary_dilation(inside[case, 0].numpy(), square)
        np.testing.assert_array_equal(grown[case, 0].numpy(), expected)
        assert (soft[case, 0].numpy()[expected] == 1).all()
        far = ndimage.binary_dilation(
            expected,
            np.ones([4 * round(feather / 2 * side) + 1 for side in size], dtype=bool),
        )
        assert (soft[case, 0].numpy()[~far] == 0).all()
        between = soft[case, 0].numpy()[far & ~expected]
        assert ((between > 0) & (between < 1)).all()
    row = soft[0, 0, 6]  # monotone on both sides of the region
    assert (row[9 + across :].diff() <= 0).all()


def test_widths_are_shares_of_the_side_whatever_its_pixels() -> None:
    small = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    small[0, 0, 10:20, 12:25] = True
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    coarse, fine = (widened(each, 0.05, 0.2) for each in (small, large))
    pooled = torch.nn.functional.avg_pool2d(fine, 4)
    assert float((pooled - coarse).abs().max()) < 0.15
    assert float((pooled - coarse).abs().mean()) < 0.01


def test_a_pixel_is_inside_from_a_share_of_the_maps_own_maximum_on() -> None:
    maps = torch.tensor([[0.1, 0.2, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -0.5, -2.0, -3.0]])
    assert at_least(maps.view(3, 1, 2, 2), 0.5).view(3, 4).tolist() == [
        [False, True, True, False],
        [False] * 4,
        [False] * 4,
    ]


def test_noise_that_is_given_is_stretched_between_the_images_own_greys() -> None:
    images = torch.rand(2, 1, 6, 6, generator=generator(1)) * 0.5 + 0.2
    noise = torch.rand(2, 1, 6, 6, generator=generator(2))
    found = filling(images, "uniform", torch.ones_like(images), noise)
    for one, given, made in zip(images, noise, found, strict=True):
        expected = one.min() + (one.max() - one.min()) * given
        torch.testing.assert_close(made, expected)


def _process(rank: int, folder: str, cases: ExchangeCases, parts: list[list[int]]) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(parts)
    )
    found = exchange(picked(cases, torch.tensor(parts[rank])), partner="any", keep="both", purpose=4)
    torch.save(found, f"{folder}/{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_with_parts_of_a_batch_exchange_as_one_with_the_whole(tmp_path: Path) -> None:
    cases = cases_of(9)
    parts = [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
    run: Callable[..., None] = _process
    spawn(run, (str(tmp_path), cases, parts), nprocs=2)  # type: ignore[no-untyped-call]
    found = [torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2)]
    images, has_partner = exchange(cases, partner="any", keep="both", purpose=4)
    assert torch.equal(torch.cat([each[0] for each in found]), images)
    assert torch.equal(torch.cat([each[1] for each in found]), has_partner)
    alone, _ = exchange(picked(cases, torch.tensor(parts[0])), partner="any", keep="both", purpose=4)
    assert not torch.equal(alone, images[:5])  # partners of the other process have a part in it

from study.train.seeds import epoch_generator, epoch_seed


def test_seed_of_an_epoch_is_the_same_everywhere():
    assert epoch_seed(0, 1, "order") == 7869624158837258281


def test_seeds_do_not_meet():
    seeds = {epoch_seed(s, e, p) for s in range(20) for e in range(20) for p in ("order", "dropout")}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_is_a_fresh_one_of_that_seed():
    first, again = (epoch_generator(0, 1, "order") for _ in range(2))
    assert first.initial_seed() == again.initial_seed() == epoch_seed(0, 1, "order")

from cxr_jax.data.notes import Notes, say


def test_a_kind_is_said_once_with_its_count_and_three_examples(capsys):
    notes = Notes()
    for number in range(5):
        notes.add("are odd", f"a\n{number}")
    notes.add("is no table", count=0)
    notes.add("are even", count=1200)
    say("x.csv", notes.all)
    assert capsys.readouterr().err == (
        "x.csv: 5 are odd (a 0, a 1, a 2, …)\nx.csv: is no table\nx.csv: 1,200 are even\n"
    )

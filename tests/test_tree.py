from stagewise.tree import Node, drawn


def test_each_node_is_drawn_below_the_one_it_belongs_to() -> None:
    first = Node("first", [Node("leaf", [], ("a remark",))], ("one", "two"))
    whole = Node("root", [first, Node("last", [Node("leaf", [])])], ("of the root",))
    assert list(drawn(whole)) == [
        "root",
        "│  of the root",
        "├─ first",
        "│  │  one",
        "│  │  two",
        "│  └─ leaf",
        "│        a remark",
        "└─ last",
        "   └─ leaf",
    ]

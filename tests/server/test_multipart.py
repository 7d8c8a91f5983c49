import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_jax.server.limits import RefusedError
from cxr_jax.server.multipart import PARTS, Form
from tests.server.standin import form

KIND = "multipart/form-data; boundary=xyz"


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_come_through_in_parts_of_any_size(data, size):
    body, kind = form(data, {"a": "1"})
    if b"\r\n--xyz" in data:
        return
    parts = Form(kind)
    for start in range(0, len(body), size):
        parts.write(body[start : start + size])
    assert [(part.name, part.is_file, bytes(part.data)) for part in parts.end()] == [
        ("a", False, b"1"), ("image", True, data)
    ]  # fmt: skip


@given(st.binary(max_size=200), st.integers(0, 150))
def test_what_is_no_form_is_refused(noise, cut):
    body, kind = form(b"data")
    for broken in (noise, body[:cut], noise + body, body[:cut] + noise):
        parts = Form(kind)
        status = 200
        try:
            parts.write(broken)
            assert len(parts.end()) <= PARTS
        except RefusedError as error:
            status = error.status
        assert status == 400 or b"--xyz--" in broken


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=xyz", "a" * 10_000]
)
def test_other_kinds(kind):
    with pytest.raises(RefusedError) as refused:
        Form(kind)
    assert refused.value.status == 415


def test_too_many_fields():
    body, kind = form(b"data", {str(number): "x" for number in range(PARTS)})
    with pytest.raises(RefusedError, match="more than"):
        Form(kind).write(body)


def test_no_file_s_name_is_kept():
    parts = Form(KIND)
    parts.write(form(b"data", filename="Doe^Jane.dcm")[0])
    assert "Jane" not in str(parts.end()) + str(vars(parts))


def test_too_long_a_boundary():
    with pytest.raises(RefusedError, match="no multipart form"):
        Form(f"multipart/form-data; boundary={'x' * 1000}")

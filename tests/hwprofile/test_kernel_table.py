import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hwprofile.kernel import Kernel
from hwprofile.kernel_rows import OPS, SIZES, TORCH_OPS, KernelTableError
from hwprofile.kernel_table import price_table
from hwprofile.targets import get_target

A100 = get_target("a100")
VALUES = {
    **{"m": 64, "n": 256, "k": 128, "b": 32, "h": 768},
    **{"input_channel": 64, "output_channel": 96, "kernel_size": 3, "input_size": 28},
    **{"stride": 1, "padding": 1, "num_q_heads": 12, "num_kv_heads": 4, "intermediate_size": 2048},
}


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_keeps_columns_and_order(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.csv",
        "note,op,scheme,m,n,k,b,h",
        '"a, b",gemm,bf16,4096,1024,512,,',
        "007,softmax,fp32,,,,64,1000",
        ",gemm,w8a8,16,4096.0,4096,,",
    )
    out = tmp_path / "out" / "priced.csv"
    assert price_table(source, out, A100) == 3
    rows = read(out)
    assert [row["note"] for row in rows] == ["a, b", "007", ""]
    assert rows[2]["n"] == "4096.0"
    for row in rows:
        assert 0 < float(row["low_ms"]) <= float(row["predicted_ms"]) <= float(row["high_ms"])
    expected = A100.alone(Kernel(op="gemm", scheme="bf16", m=4096, n=1024, k=512))
    assert float(rows[0]["predicted_ms"]) == pytest.approx(expected.value)


def test_parquet_round_trip_and_prices_replaced(tmp_path: Path) -> None:
    table = pa.table(
        {
            "op": ["gemm", "conv", "addu"],
            "scheme": ["bf16", "fp32", "fp32"],
            **{name: [VALUES[name]] * 3 for name in ("m", "n", "k", "h")},
            "b": [1.0, 8.0, 4.0],
            **{name: [None, float(VALUES[name]), None] for name in SIZES["conv"] if name != "b"},
            "predicted_ms": [-1.0, -1.0, -1.0],
        }
    )
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    assert price_table(source, out, A100) == 3
    priced = pq.read_table(out)
    assert priced.column_names == [*table.column_names[:-1], "predicted_ms", "low_ms", "high_ms"]
    assert priced.select(table.column_names[:-1]).equals(table.select(table.column_names[:-1]))
    assert min(priced["predicted_ms"].to_pylist()) > 0


@pytest.mark.parametrize("target", ["a100", "t4"])
def test_every_operator_and_scheme_has_a_price(tmp_path: Path, target: str) -> None:
    names = list(VALUES)
    rows = [
        ",".join([op, scheme, *(str(VALUES[name]) for name in names)])
        for op in OPS
        for scheme in ("fp32", "fp16", "bf16", "w8a8", "w8", "w4")
        if op in TORCH_OPS or not scheme.startswith("w")
    ]
    source = write(tmp_path / "in.csv", ",".join(["op", "scheme", *names]), *rows)
    assert price_table(source, tmp_path / "out.csv", get_target(target)) == len(rows)
    assert all(float(row["predicted_ms"]) > 0 for row in read(tmp_path / "out.csv"))


def test_binary_operators_read_two_tensors(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.csv",
        "op,scheme,b,h",
        *("add,fp32,16384,8192", "addu,fp32,16384,8192", "add,fp16,16384,8192"),
    )
    price_table(source, tmp_path / "out.csv", A100)
    two, one, half = (float(row["predicted_ms"]) for row in read(tmp_path / "out.csv"))
    assert two / one == pytest.approx(1.5, rel=0.05)
    assert half < two / 2 * 1.05


def test_single_fp32_operators_include_the_host_and_name_their_board(tmp_path: Path) -> None:
    big = "16384,16384"
    source = write(
        tmp_path / "in.csv",
        "op,scheme,b,h,device",
        "relu,fp32,1,8,NVIDIA A100-PCIE-40GB",
        f"relu,fp32,{big},NVIDIA A100-PCIE-40GB",
        f"relu,fp32,{big},NVIDIA A100 80GB PCIe",
        f"relu,fp32,{big},",
    )
    price_table(source, tmp_path / "out.csv", A100)
    tiny, small, large, unnamed = (float(row["predicted_ms"]) for row in read(tmp_path / "out.csv"))
    assert 0.025 < tiny < 0.040
    assert small / large == pytest.approx(1935 / 1555, rel=0.03)
    assert unnamed == small


def test_triton_rows_agree_with_published_ones(tmp_path: Path) -> None:
    # Liger-Kernel on A100-SXM4-80GB, ms: rotary embeddings in three passes, cross-entropy, an MLP.
    rows = {
        "rope,bf16,forward,2048,8192,32,8,": 0.0595,
        "rope,bf16,backward,1024,8192,32,8,": 0.126,
        "rope,bf16,full,16384,8192,32,8,": 0.817,
        "cross_entropy,fp32,forward,16384,32768,,,": 2.84,
        "cross_entropy,fp32,full,16384,131072,,,": 25.2,
        "swiglu,bf16,forward,16384,4096,,,11008": 18.0,
    }
    head = "op,scheme,mode,b,h,num_q_heads,num_kv_heads,intermediate_size"
    source = write(tmp_path / "in.csv", head, *rows)
    price_table(source, tmp_path / "out.csv", A100)
    for row, published in zip(read(tmp_path / "out.csv"), rows.values(), strict=True):
        assert float(row["predicted_ms"]) == pytest.approx(published, rel=0.08)
        assert float(row["low_ms"]) < published < float(row["high_ms"])


def test_a_norm_may_be_a_triton_kernel(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.csv",
        "op,scheme,backend,mode,b,h",
        *("layer_norm,bf16,triton,,4096,8192", "layer_norm,bf16,,,4096,8192"),
        *("rms_norm,bf16,triton,backward,4096,8192", "rms_norm,bf16,torch,,4096,8192"),
    )
    price_table(source, tmp_path / "out.csv", A100)
    triton, torch, backward, _ = (float(row["predicted_ms"]) for row in read(tmp_path / "out.csv"))
    # The quoted 8 us and 85 % of the bandwidth; a graph has no events.
    assert triton == pytest.approx(8e-3 + 4 * 4096 * 8192 / 0.85 / 2039e6)
    assert torch < triton < backward


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["op,scheme,b,h,backend", "relu,bf16,1,1,triton"],
            "row 1: backend must be torch, or triton for rope, .*got 'triton' for relu",
        ),
        (
            ["op,scheme,b,h,mode", "cross_entropy,fp32,1,1,twice"],
            "row 1: mode must be one of forward, backward, full; got 'twice'",
        ),
        (
            ["op,scheme,b,h", "cross_entropy,w4,1,1"],
            "a Triton cross_entropy has a float scheme, one of fp32, .*got 'w4'",
        ),
        (
            ["op,scheme,b,h,intermediate_size,mode", "swiglu,bf16,1,1,1,full"],
            "of swiglu the mode forward alone is priced; got 'full'",
        ),
        (["op,m,n,k", "gemm,1,1,1"], "needs the column 'scheme'; got op, m, n, k: add it"),
        (["scheme,m", "bf16,1"], "needs the column 'op'"),
        (["op,scheme,m,n,k", "gem,bf16,1,1,1"], "row 1: op must be one of gemm, .*got 'gem'"),
        (
            ["op,scheme,m,n,k", "gemm,bf16,1,1,1", "gemm,fp64,1,1,1"],
            "row 2: scheme must be one of fp32, .*got 'fp64'",
        ),
        (["op,scheme,m,n", "gemm,bf16,1,1"], "row 1: gemm needs the columns m, n, k; 'k' is"),
        (["op,scheme,m,n,k", "gemm,bf16,1,nan,1"], "row 1: n must be a whole .*got 'nan'"),
        (["op,scheme,m,n,k", "gemm,bf16,1,,1"], "row 1: n must be a whole"),
        (["op,scheme,m,n,k", "gemm,bf16,1,0,1"], "n must be a whole number of at least 1"),
        (["op,scheme,m,n,k", "gemm,bf16,1,1.5,1"], "got '1.5'"),
        (["op,scheme,b,h", "relu,fp32,-4,1"], "b must be a whole number of at least 1; got '-4'"),
        (["op,scheme,m", "gemm,bf16"], "row 1: a row has as many fields as the header, 3; got 2"),
        ([",".join(["op", "op"])], "column names must differ"),
    ],
)
def test_faults(tmp_path: Path, lines: list[str], message: str) -> None:
    source = write(tmp_path / "in.csv", *lines)
    with pytest.raises(KernelTableError, match=message):
        price_table(source, tmp_path / "out.csv", A100)


def test_convolutions_that_cannot_be(tmp_path: Path) -> None:
    names = [*SIZES["conv"], "groups"]
    head = ",".join(["op", "scheme", *names])
    good = {**VALUES, "groups": 1}
    for change, message in (
        ({"groups": 5}, "groups must divide"),
        ({"kernel_size": 50}, "kernel_size must fit into"),
        ({"padding": -1}, "padding must be a whole number of at least 0"),
    ):
        values = {**good, **change}
        line = ",".join(["conv", "fp16", *(str(values[name]) for name in names)])
        source = write(tmp_path / "in.csv", head, line)
        with pytest.raises(KernelTableError, match=message):
            price_table(source, tmp_path / "out.csv", A100)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    good = write(tmp_path / "in.csv", "op,scheme,m,n,k", "gemm,bf16,1,1,1")
    with pytest.raises(KernelTableError, match="there is no file"):
        price_table(tmp_path / "none.csv", tmp_path / "out.csv", A100)
    with pytest.raises(KernelTableError, match=r"must end in \.csv or \.parquet"):
        price_table(good, tmp_path / "out.json", A100)
    broken = tmp_path / "in.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(KernelTableError, match="not a Parquet file"):
        price_table(broken, tmp_path / "out.csv", A100)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("op,scheme,größe\n".encode("latin-1"))
    with pytest.raises(KernelTableError, match="must be UTF-8"):
        price_table(latin, tmp_path / "out.csv", A100)
    with pytest.raises(KernelTableError, match="must be writable at"):
        price_table(good, good / "out.csv", A100)
    with pytest.raises(KernelTableError, match="the file is empty"):
        price_table(_empty(tmp_path), tmp_path / "out.csv", A100)


def test_a_table_without_rows_comes_back_without_rows(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", "op,scheme,m,n,k")
    assert price_table(source, tmp_path / "out.csv", A100) == 0
    assert read(tmp_path / "out.csv") == []


def _empty(folder: Path) -> Path:
    path = folder / "empty.csv"
    path.write_text("")
    return path

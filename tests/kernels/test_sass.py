"""Reading machine code: a listing in the form of nvdisasm, with a loop in a loop."""

from __future__ import annotations

import pytest

from kernels import sass

LISTING = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/              @!P0 LDG.E.U16 R4, [R2.64] ;
        /*0020*/              @!P1 BRA `(.L_x_3) ;
.L_x_0:
        /*0030*/                   LDG.E.128 R8, [R2.64] ;
        /*0040*/              @UP1 FFMA.FTZ R0, R4, R5, R0 ;
        /*0050*/                   HMMA.16816.F32 R4, R8, R10, R4 ;
        /*0060*/               @P0 BRA `(.L_x_0) ;
.L_x_3:
        /*0070*/                   STL [R1+0x4], R0 ;
        /*0080*/               @P1 BRA `(.L_x_1) ;
        /*0090*/                   EXIT ;
.L_x_2:
        /*00a0*/                   BRA `(.L_x_2);
        /*00b0*/                   NOP;
.L_x_4:
"""


def test_instructions_are_counted_without_modifiers():
    instructions, _ = sass.parse(LISTING)
    counts = dict(sass.count(instructions))
    assert counts["LDG"] == 2
    assert counts["FFMA"] == counts["HMMA"] == counts["STL"] == counts["EXIT"] == 1
    assert sum(counts.values()) == 12


def test_loops_are_found_and_inner_ones_counted_apart():
    outer, inner = sass.find_loops(*sass.parse(LISTING))
    assert (outer.depth, outer.innermost, inner.depth, inner.innermost) == (1, False, 2, True)
    assert inner.mix == {"tensor core": 1, "multiply-add": 1, "global load": 1, "other": 1}
    assert outer.mix == {"global load": 1, "spill": 1, "other": 2}
    assert (inner.loaded_bytes, outer.loaded_bytes) == (16, 2)
    assert sass.main_loop([outer, inner]) == inner


def test_straight_code_has_no_loop():
    listing = LISTING.replace("@P0 BRA", "NOP").replace("@P1 BRA", "NOP")
    loops = sass.find_loops(*sass.parse(listing))
    assert loops == ()
    assert sass.main_loop(loops) is None


def test_a_product_of_zeros_is_a_move():
    listing = """
        /*0000*/                   HFMA2.MMA R14, -RZ, RZ, 0, 0 ;
        /*0010*/                   HFMA2.MMA R14, R3, R4, R5 ;
"""
    assert sass.count(sass.parse(listing)[0]) == (("HFMA2", 1), ("MOV", 1))


def test_no_mnemonic_has_two_classes():
    members = [name for names in sass.CLASSES.values() for name in names]
    assert len(members) == len(set(members))


def test_no_instructions_is_a_fault():
    with pytest.raises(sass.ListingError, match="must hold instructions; got 'nothing'"):
        sass.parse("nothing")

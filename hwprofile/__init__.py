# This package belongs to the project nas.
"""What a network costs on a device.

A module is traced into the operations that torch dispatches (`trace`), those are fused into the
kernels that would launch (`fuse`), and each kernel is priced for a device (`device`, `wave`).
Everything is an `Estimate`: a value with a range.
"""

"""What the hardware says while it works: NVML sensors, traced kernels."""

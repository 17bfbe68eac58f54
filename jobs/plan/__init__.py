"""What `passtream plan` computes: costs on devices and cores, and its report."""

"""Solve linear equations and find eigenvalues with numpy, and check both answers."""

import sys

try:
    import numpy as np
except ModuleNotFoundError:
    sys.exit("matrix.py needs numpy; install it with: python -m pip install numpy")

SIZE = 400


def main() -> None:
    rng = np.random.default_rng(seed=7)
    noise = rng.standard_normal((SIZE, SIZE))
    # Symmetric, with eigenvalues of at least 1: both problems are well posed.
    matrix = noise @ noise.T / SIZE + np.eye(SIZE)
    right_side = rng.standard_normal(SIZE)

    solution = np.linalg.solve(matrix, right_side)
    values, vectors = np.linalg.eigh(matrix)

    solve_error = np.abs(matrix @ solution - right_side).max()
    eigen_error = np.abs(matrix @ vectors - vectors * values).max()
    print(f"{SIZE} equations solved, largest error {solve_error:.1e}")
    print(f"eigenvalues from {values[0]:.4f} to {values[-1]:.4f}, largest error {eigen_error:.1e}")
    if max(solve_error, eigen_error) > 1e-9:
        sys.exit("matrix.py: the answers do not satisfy the equations")


if __name__ == "__main__":
    main()

"""Linear and integer programs: the cheapest amounts within bounds, found exactly by HiGHS.

Source: Huangfu and Hall 2018, "Parallelizing the dual revised simplex method" (the solver); a program in whole numbers
is solved by its branch and cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdq_cli.solving.silence import native_output_hidden

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums of factors times amounts, each of which has to lie between two bounds.

    Args:
        rows: Of each factor, the number of the sum it stands in.
        columns: Of each factor, the number of the amount it multiplies.
        factors: The factors themselves; a pair of row and column stands here once at most.
        least: What each sum has to be at least; -inf for no bound.
        most: What each sum may be at most; inf for no bound.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    factors: Numbers
    least: Numbers
    most: Numbers

    @staticmethod
    def of_matrix(matrix: ArrayLike, least: ArrayLike, most: ArrayLike) -> Sums:
        """Take the sums from a full matrix: a row a sum, a column an amount."""
        values = np.asarray(matrix, np.float64)
        rows, columns = np.nonzero(values)
        ends = (np.asarray(end, np.float64) for end in (least, most))
        return Sums(rows, columns, values[rows, columns], *ends)

    def starts(self) -> NDArray[np.intp]:
        """Where each sum starts among the factors, once these are in order of rows; one more for the end."""
        return np.searchsorted(np.sort(self.rows), np.arange(self.least.size + 1))


def cheapest_amounts(cost: Numbers, most: Numbers, sums: Sums, *, whole: bool = False) -> Numbers | None:
    """Find the amounts of least cost, from 0 to a bound each, whose sums are within theirs.

    The same program gives the same amounts, on any number of cores: the solver runs on one thread.

    Args:
        cost: Cost of one of each amount.
        most: Largest value of each amount.
        sums: What holds between them.
        whole: Whether amounts are whole numbers.

    Returns:
        The amounts, of cost's shape; whole ones to within 1e-6. None where no amounts satisfy the sums.
    """
    import highspy  # takes a hundredth of a second, and only a few runs need it

    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = cost.size, sums.least.size
    program.col_cost_, program.col_lower_, program.col_upper_ = cost, np.zeros(cost.size), most
    program.row_lower_, program.row_upper_ = sums.least, sums.most
    order = np.argsort(sums.rows, kind="stable")
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.num_col_, program.a_matrix_.num_row_ = cost.size, sums.least.size
    program.a_matrix_.start_ = sums.starts().astype(np.int32)
    program.a_matrix_.index_ = sums.columns[order].astype(np.int32)
    program.a_matrix_.value_ = sums.factors[order]
    if whole:
        program.integrality_ = [highspy.HighsVarType.kInteger] * cost.size
    with native_output_hidden():
        solver = highspy.Highs()
        # costs that differ by less than a part in ten thousand, the solver's own limit, differ all the same
        for option, value in (("output_flag", False), ("threads", 1), ("mip_rel_gap", 0.0)):
            solver.setOptionValue(option, value)
        solver.passModel(program)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return np.array(solver.getSolution().col_value, np.float64)

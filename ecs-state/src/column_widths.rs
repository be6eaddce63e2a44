//! The widths of a table's columns, fitted to the terminal.

/// The space between two columns.
pub(crate) const GAP: &str = "  ";

/// A column, and how it fits a narrow terminal.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) fit: Fit,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Fit {
    /// It is never truncated.
    Whole,
    /// An id, of which a prefix is enough.
    Id,
    /// It is truncated, but not below this width.
    AtLeast(usize),
    /// It is omitted, from right to left.
    Optional,
    /// It is omitted as long as all rows have the same text, or if all others don't fit otherwise.
    IfDifferent,
    /// The last column, a sentence, which moves to its own line.
    Below,
}

/// The width of a truncated id.
const ID: usize = 12;

/// The width of each column; 0 omits it.
pub(crate) fn fit(columns: &[Column], natural: &[usize], width: Option<usize>) -> Vec<usize> {
    let mut widths = natural.to_vec();
    let Some(width) = width else { return widths };
    let total = |widths: &[usize]| {
        let shown = widths.iter().filter(|width| **width > 0).count();
        widths.iter().sum::<usize>() + GAP.len() * shown.saturating_sub(1)
    };
    let position = |fit: Fit| columns.iter().position(|column| column.fit == fit);
    let shorten_id = |widths: &mut Vec<usize>| {
        if let Some(id) = position(Fit::Id).filter(|_| total(widths) > width) {
            widths[id] = widths[id].min(ID);
        }
    };
    shorten_id(&mut widths);
    if total(&widths) > width
        && let Some(sentence) = position(Fit::Below)
    {
        widths.clone_from_slice(natural);
        widths[sentence] = 0;
        shorten_id(&mut widths);
    }
    let least = |widths: &[usize]| -> Vec<usize> {
        let least = |(column, width): (&Column, &usize)| match column.fit {
            Fit::AtLeast(least) => least.min(*width),
            _ => *width,
        };
        columns.iter().zip(widths).map(least).collect()
    };
    for (at, column) in columns.iter().enumerate().rev() {
        let is_over = match column.fit {
            Fit::Optional => total(&widths) > width,
            Fit::IfDifferent => total(&least(&widths)) > width,
            _ => false,
        };
        if is_over {
            widths[at] = 0;
        }
    }
    while total(&widths) > width {
        let spare = |at: usize| match columns[at].fit {
            Fit::AtLeast(least) if widths[at] > least => Some(widths[at]),
            _ => None,
        };
        let Some((at, _)) = (0..columns.len()).filter_map(|at| Some((at, spare(at)?))).max_by_key(|(_, width)| *width)
        else {
            break;
        };
        widths[at] -= 1;
    }
    widths
}

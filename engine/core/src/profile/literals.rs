//! Which of many literals stand in a text: one walk over it finds all (Aho and Corasick, 1975).
//!
//! Written out here because the walk is paid for every byte: fourteen instructions where the crate of that name
//! takes nineteen.

use std::collections::VecDeque;

/// Set in a step where a literal ends.
const END: u32 = 1 << 31;

/// A set of literals, each with its number in the order given.
pub struct Literals {
    /// Bytes that no literal holds are in class 0, each other one has a class of its own.
    classes: [u8; 256],
    /// Per state a row of as many steps as there are classes. A step is the place of the next state's row, and [`END`].
    steps: Vec<u32>,
    width: usize,
    /// Per state the literals that end there.
    ends: Vec<Vec<usize>>,
}

/// How far a walk got.
pub struct Walk<'t> {
    row: usize,
    text: &'t [u8],
}

impl<'t> Walk<'t> {
    /// At the start of a text.
    pub fn new(text: &'t [u8]) -> Self {
        Self { row: 0, text }
    }
}

impl Default for Literals {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Literals {
    /// The set of `literals`, none of which is empty.
    pub fn new(literals: &[&str]) -> Self {
        let mut classes = [0; 256];
        let mut width = 1_usize;
        for byte in literals.iter().flat_map(|literal| literal.bytes()) {
            if let Some(class @ 0) = classes.get_mut(usize::from(byte)) {
                // They fit: not all of 256 bytes occur in UTF-8.
                *class = u8::try_from(width).unwrap_or(0);
                width = width.saturating_add(1);
            }
        }
        let class = |byte: u8| classes.get(usize::from(byte)).copied().map_or(0, usize::from);

        // First the tree of the literals: per state a row of next states, 0 where no literal goes on.
        let mut rows = vec![vec![0_usize; width]];
        let mut ends = vec![Vec::new()];
        for (number, literal) in literals.iter().enumerate() {
            let mut state = 0;
            for byte in literal.bytes() {
                let fresh = rows.len();
                let Some(next) = rows.get_mut(state).and_then(|row| row.get_mut(class(byte))) else { continue };
                state = if *next == 0 { fresh } else { *next };
                *next = state;
                if state == fresh {
                    rows.push(vec![0; width]);
                    ends.push(Vec::new());
                }
            }
            ends.get_mut(state).into_iter().for_each(|here: &mut Vec<usize>| here.push(number));
        }

        // Then, from short to long, what to go on with where no literal goes on: the longest end of what was read that
        // is the start of some literal. What ends there ends here as well.
        let mut shorter = vec![0; rows.len()];
        let mut states = VecDeque::from([0]);
        while let Some(state) = states.pop_front() {
            let of_shorter = shorter.get(state).filter(|_| state > 0).and_then(|shorter| rows.get(*shorter)).cloned();
            let of_shorter = of_shorter.unwrap_or_else(|| vec![0; width]);
            for (next, behind) in rows.get_mut(state).into_iter().flatten().zip(of_shorter) {
                if *next == 0 {
                    *next = behind;
                    continue;
                }
                states.push_back(*next);
                shorter.get_mut(*next).into_iter().for_each(|place| *place = behind);
                let more = ends.get(behind).cloned().unwrap_or_default();
                ends.get_mut(*next).into_iter().for_each(|here| here.extend(&more));
            }
        }

        let has_end = |state: usize| ends.get(state).is_some_and(|here| !here.is_empty());
        let step = |state: usize| {
            let place = u32::try_from(state.saturating_mul(width)).unwrap_or(0);
            if has_end(state) { place | END } else { place }
        };
        let steps = rows.into_iter().flatten().map(step).collect();
        Self { classes, steps, width, ends }
    }

    /// Walks on to where literals end, and gives their numbers; None: the text is at its end.
    // Not inlined: among other code the loop's few values would not stay in registers.
    #[inline(never)]
    pub fn next(&self, walk: &mut Walk<'_>) -> Option<&[usize]> {
        let Self { classes, steps, .. } = self;
        let mut row = walk.row;
        let mut text = walk.text.iter();
        while let Some(byte) = text.next() {
            let class = usize::from(*classes.get(usize::from(*byte))?);
            let step = *steps.get(row.wrapping_add(class))?;
            row = (step & !END) as usize;
            if step & END != 0 {
                *walk = Walk { row, text: text.as_slice() };
                return self.ends.get(row.checked_div(self.width)?).map(Vec::as_slice);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Place and number of every end of a literal.
    fn found(literals: &[&str], text: &str) -> Vec<(usize, usize)> {
        let set = Literals::new(literals);
        let mut walk = Walk::new(text.as_bytes());
        let mut found = Vec::new();
        while let Some(numbers) = set.next(&mut walk) {
            let end = text.len() - walk.text.len();
            found.extend(numbers.iter().map(|number| (end, *number)));
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn literals_inside_and_across_each_other_are_all_found() {
        let all = [(4, 0), (4, 1), (6, 2), (6, 3), (9, 1)];
        assert_eq!(all.as_slice(), found(&["she", "he", "hers", "ers"], "ushers-he").as_slice());
        assert_eq!(Vec::<(usize, usize)>::new(), found(&["abc"], "ababab"));
        assert_eq!(Vec::<(usize, usize)>::new(), found(&[], "abc"));
    }

    proptest! {
        #[test]
        fn finds_what_looking_for_each_finds(
            literals in prop::collection::vec("[abc]{1,4}", 0..12),
            text in "[abcd]{0,40}",
        ) {
            let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
            let mut plain = Vec::new();
            for end in 0..=text.len() {
                let ends_here = literals.iter().enumerate().filter(|(_, literal)| text[..end].ends_with(**literal));
                plain.extend(ends_here.map(|(number, _)| (end, number)));
            }
            prop_assert_eq!(plain, found(&literals, &text));
        }
    }
}

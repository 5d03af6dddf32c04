//! Array functions. Elements are equal and ordered as their values are, nested ones too. NULL equals NULL, and 0.0
//! equals -0.0.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray},
    buffer::{NullBuffer, OffsetBuffer},
    compute::interleave,
    datatypes::DataType,
    row::{RowConverter, Rows, SortField},
};
use datafusion_common::{Result, exec_err};

use crate::{
    canonical::canonical,
    native::{
        Arguments, Constants, Gives,
        Kind::{Boolean, Int, Text},
        Native, Takes, booleans, count, ints, texts, unexpected,
    },
    unify::{all_unified, element, list, unified},
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("cardinality", "CARDINALITY(array or map)", Takes::By(a_collection), Gives::Int, cardinality),
    Native::new("element", "ELEMENT(array)", Takes::By(a_list), Gives::By(of_element), sole_element),
    Native::new("array_at", "array[index]", Takes::By(list_and_int), Gives::By(of_element), array_at)
        .checked(check_index),
    Native::new(
        "array_contains",
        "ARRAY_CONTAINS(array, element)",
        Takes::By(list_and_element),
        Gives::Boolean,
        array_contains,
    )
    .also(&["array_has", "list_has", "list_contains"]),
    Native::new(
        "array_position",
        "ARRAY_POSITION(array, element)",
        Takes::By(list_and_element),
        Gives::Int,
        array_position,
    )
    .also(&["list_position", "array_indexof", "list_indexof"]),
    Native::new(
        "array_remove",
        "ARRAY_REMOVE(array, element)",
        Takes::By(list_and_element),
        Gives::By(of_list),
        array_remove,
    )
    .also(&["array_remove_all", "list_remove_all", "list_remove"]),
    Native::new(
        "array_append",
        "ARRAY_APPEND(array, element)",
        Takes::By(list_and_element),
        Gives::By(of_list),
        array_append,
    )
    .also(&["list_append", "array_push_back", "list_push_back"]),
    Native::new(
        "array_prepend",
        "ARRAY_PREPEND(array, element)",
        Takes::By(list_and_element),
        Gives::By(of_list),
        array_prepend,
    ),
    Native::new("array_concat", "ARRAY_CONCAT(array, …)", Takes::By(lists), Gives::By(of_list), array_concat).also(&[
        "array_cat",
        "list_concat",
        "list_cat",
    ]),
    Native::new("array_distinct", "ARRAY_DISTINCT(array)", Takes::By(a_list), Gives::By(of_list), array_distinct)
        .also(&["list_distinct"]),
    Native::new("array_union", "ARRAY_UNION(array, array)", Takes::By(two_lists), Gives::By(of_list), array_union)
        .also(&["list_union"]),
    Native::new(
        "array_intersect",
        "ARRAY_INTERSECT(array, array)",
        Takes::By(two_lists),
        Gives::By(of_list),
        array_intersect,
    )
    .also(&["list_intersect"]),
    Native::new("array_except", "ARRAY_EXCEPT(array, array)", Takes::By(two_lists), Gives::By(of_list), array_except)
        .also(&["list_except"]),
    Native::new(
        "array_slice",
        "ARRAY_SLICE(array, from [, to])",
        Takes::By(list_and_ints),
        Gives::By(of_list),
        array_slice,
    ),
    Native::new(
        "array_sort",
        "ARRAY_SORT(array [, ascending [, nulls first]])",
        Takes::By(list_and_booleans),
        Gives::By(of_list),
        array_sort,
    ),
    Native::new("array_reverse", "ARRAY_REVERSE(array)", Takes::By(a_list), Gives::By(of_list), array_reverse)
        .also(&["list_reverse"]),
    Native::new("array_max", "ARRAY_MAX(array)", Takes::By(a_list), Gives::By(of_element), array_max)
        .also(&["list_max"]),
    Native::new("array_min", "ARRAY_MIN(array)", Takes::By(a_list), Gives::By(of_element), array_min),
    Native::new(
        "array_join",
        "ARRAY_JOIN(array, separator [, text for NULL])",
        Takes::By(texts_and_separator),
        Gives::Text,
        array_join,
    )
    .also(&["list_join"]),
];

type Types = Option<Vec<DataType>>;

/// The type of a list of any layout, as a `List`; `None` if it is not a list.
pub(crate) fn as_list(found: &DataType) -> Option<DataType> {
    match found {
        DataType::Null => Some(list(DataType::Null)),
        other => element(other).map(list),
    }
}

fn a_list(found: &[DataType]) -> Types {
    let [only] = found else { return None };
    Some(vec![as_list(only)?])
}

fn a_collection(found: &[DataType]) -> Types {
    match found {
        [map @ DataType::Map(_, _)] => Some(vec![map.clone()]),
        other => a_list(other),
    }
}

fn lists(found: &[DataType]) -> Types {
    let types = found.iter().map(as_list).collect::<Option<Vec<_>>>()?;
    let unified = all_unified(&types)?;
    Some(vec![unified; found.len()])
}

fn two_lists(found: &[DataType]) -> Types {
    (found.len() == 2).then(|| lists(found)).flatten()
}

fn list_and_element(found: &[DataType]) -> Types {
    let [array, wanted] = found else { return None };
    let of_both = unified(&element(&as_list(array)?)?, wanted)?;
    Some(vec![list(of_both.clone()), of_both])
}

fn list_and_int(found: &[DataType]) -> Types {
    let [array, index] = found else { return None };
    Some(vec![as_list(array)?, Int.takes(index)?])
}

fn list_and_ints(found: &[DataType]) -> Types {
    let (array, rest) = found.split_first()?;
    let (1..=2) = rest.len() else { return None };
    std::iter::once(as_list(array)).chain(rest.iter().map(|index| Int.takes(index))).collect()
}

fn list_and_booleans(found: &[DataType]) -> Types {
    let (array, rest) = found.split_first()?;
    let (0..=2) = rest.len() else { return None };
    std::iter::once(as_list(array)).chain(rest.iter().map(|flag| Boolean.takes(flag))).collect()
}

fn texts_and_separator(found: &[DataType]) -> Types {
    let (array, rest) = found.split_first()?;
    let (1..=2) = rest.len() else { return None };
    let of_texts = list(Text.takes(&element(&as_list(array)?)?)?);
    std::iter::once(Some(of_texts)).chain(rest.iter().map(|text| Text.takes(text))).collect()
}

fn of_list(types: &[DataType]) -> DataType {
    types.first().cloned().unwrap_or(DataType::Null)
}

fn of_element(types: &[DataType]) -> DataType {
    types.first().and_then(element).unwrap_or(DataType::Null)
}

/// The arrays of one argument.
pub(crate) struct Lists(ListArray);

impl Lists {
    pub(crate) fn of(arguments: &Arguments, at: usize) -> Result<Self> {
        arguments.array(at)?.as_list_opt::<i32>().cloned().map(Self).ok_or_else(unexpected)
    }

    /// The places of a row's elements among all elements; `None` if the array is NULL.
    pub(crate) fn range(&self, row: usize) -> Option<Range<usize>> {
        let offsets = self.0.value_offsets();
        let place = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        self.0.is_valid(row).then(|| place(row)..place(row + 1))
    }

    pub(crate) fn values(&self) -> &ArrayRef {
        self.0.values()
    }
}

/// Encodes values of one type as bytes that are equal and ordered as the values are. NULL is the least.
pub(crate) fn comparable<const N: usize>(columns: [&ArrayRef; N]) -> Result<[Rows; N]> {
    let Some(first) = columns.first() else { return exec_err!("there is nothing to compare") };
    let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
    let mut made = Vec::with_capacity(N);
    for column in columns {
        made.push(converter.convert_columns(&[canonical(column)?])?);
    }
    made.try_into().map_err(|_| unexpected())
}

/// Makes arrays of picked elements, each given by source and place; `None` is NULL.
fn pick(
    arguments: &Arguments,
    sources: &[&ArrayRef],
    mut picked: impl FnMut(usize) -> Result<Option<Vec<(usize, usize)>>>,
) -> Result<ArrayRef> {
    let DataType::List(field) = arguments.returns else { return Err(unexpected()) };
    let (mut places, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..arguments.rows {
        let picked = picked(row)?;
        valid.push(picked.is_some());
        let picked = picked.unwrap_or_default();
        lengths.push(picked.len());
        places.extend(picked);
    }
    let values = chosen(sources, &places)?;
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, Some(NullBuffer::from(valid)))?))
}

pub(crate) fn chosen(sources: &[&ArrayRef], places: &[(usize, usize)]) -> Result<ArrayRef> {
    let sources: Vec<&dyn Array> = sources.iter().map(|source| source.as_ref()).collect();
    Ok(interleave(&sources, places)?)
}

/// Picks one element for each row, or NULL.
pub(crate) fn pick_one(values: &ArrayRef, picked: impl Iterator<Item = Result<Option<usize>>>) -> Result<ArrayRef> {
    let places = picked
        .map(|place| Ok(place?.and_then(|place| u64::try_from(place).ok())))
        .collect::<Result<arrow::array::UInt64Array>>()?;
    Ok(arrow::compute::take(values.as_ref(), &places, None)?)
}

fn cardinality(arguments: &Arguments) -> Result<ArrayRef> {
    let array = arguments.array(0)?;
    match array.as_map_opt() {
        Some(map) => ints(arguments.rows, |row| {
            let length =
                map.is_valid(row).then(|| map.value_length(row)).and_then(|length| usize::try_from(length).ok());
            length.map(count).transpose()
        }),
        None => {
            let lists = Lists::of(arguments, 0)?;
            ints(arguments.rows, |row| lists.range(row).map(|range| count(range.len())).transpose())
        }
    }
}

/// The only element, or NULL if there is none. More than one is an error.
fn sole_element(arguments: &Arguments) -> Result<ArrayRef> {
    let lists = Lists::of(arguments, 0)?;
    let picked = (0..arguments.rows).map(|row| match lists.range(row) {
        Some(range) if range.len() > 1 => exec_err!("ELEMENT: the array has {} elements", range.len()),
        Some(range) if range.len() == 1 => Ok(Some(range.start)),
        _ => Ok(None),
    });
    pick_one(lists.values(), picked)
}

fn check_index(constants: &Constants) -> std::result::Result<(), String> {
    match constants.int(1) {
        Some(index @ ..=0) => Err(format!("an array's first element has index 1, not {index}")),
        _ => Ok(()),
    }
}

/// The element at an index from 1, or NULL beyond the end. An index below 1 is an error.
fn array_at(arguments: &Arguments) -> Result<ArrayRef> {
    let (lists, indexes) = (Lists::of(arguments, 0)?, arguments.ints(1)?);
    let picked = (0..arguments.rows).map(|row| {
        let (Some(range), Some(index)) = (lists.range(row), indexes.get(row)) else { return Ok(None) };
        let Ok(behind @ 1..) = usize::try_from(index) else {
            return exec_err!("an array's first element has index 1, not {index}");
        };
        Ok((behind <= range.len()).then(|| range.start + behind - 1))
    });
    pick_one(lists.values(), picked)
}

/// The elements of the first argument, and for each row the value to look for, as comparable bytes.
struct Search {
    lists: Lists,
    wanted: ArrayRef,
    elements: Rows,
    needles: Rows,
}

impl Search {
    fn of(arguments: &Arguments) -> Result<Self> {
        let (lists, wanted) = (Lists::of(arguments, 0)?, arguments.array(1)?);
        let [elements, needles] = comparable([lists.values(), &wanted])?;
        Ok(Self { lists, wanted, elements, needles })
    }

    fn is_wanted(&self, row: usize, place: usize) -> bool {
        self.elements.row(place) == self.needles.row(row)
    }
}

/// Whether an array has an element. NULL is found if the array has one.
fn array_contains(arguments: &Arguments) -> Result<ArrayRef> {
    let search = Search::of(arguments)?;
    booleans(arguments.rows, |row| {
        Ok(search.lists.range(row).map(|mut range| range.any(|place| search.is_wanted(row, place))))
    })
}

/// The position of an element, from 1; 0 if the array does not have it.
fn array_position(arguments: &Arguments) -> Result<ArrayRef> {
    let search = Search::of(arguments)?;
    ints(arguments.rows, |row| {
        let Some(mut range) = search.lists.range(row).filter(|_| search.wanted.is_valid(row)) else { return Ok(None) };
        let found = range.position(|place| search.is_wanted(row, place));
        found.map_or(Ok(0), |found| count(found + 1)).map(Some)
    })
}

fn array_remove(arguments: &Arguments) -> Result<ArrayRef> {
    let search = Search::of(arguments)?;
    pick(arguments, &[search.lists.values()], |row| {
        let kept = search.lists.range(row).map(|range| range.filter(|place| !search.is_wanted(row, *place)));
        Ok(kept.map(|kept| kept.map(|place| (0, place)).collect()))
    })
}

fn array_append(arguments: &Arguments) -> Result<ArrayRef> {
    let (lists, added) = (Lists::of(arguments, 0)?, arguments.array(1)?);
    pick(arguments, &[lists.values(), &added], |row| {
        Ok(lists.range(row).map(|range| range.map(|place| (0, place)).chain([(1, row)]).collect()))
    })
}

fn array_prepend(arguments: &Arguments) -> Result<ArrayRef> {
    let (lists, added) = (Lists::of(arguments, 0)?, arguments.array(1)?);
    pick(arguments, &[lists.values(), &added], |row| {
        Ok(lists.range(row).map(|range| std::iter::once((1, row)).chain(range.map(|place| (0, place))).collect()))
    })
}

fn array_concat(arguments: &Arguments) -> Result<ArrayRef> {
    let lists = (0..arguments.len()).map(|at| Lists::of(arguments, at)).collect::<Result<Vec<_>>>()?;
    let sources: Vec<&ArrayRef> = lists.iter().map(Lists::values).collect();
    pick(arguments, &sources, |row| {
        let mut whole = Vec::new();
        for (source, list) in lists.iter().enumerate() {
            let Some(range) = list.range(row) else { return Ok(None) };
            whole.extend(range.map(|place| (source, place)));
        }
        Ok(Some(whole))
    })
}

/// The elements of the first array, and with `both` those of the second, each once, if `kept` says so.
fn of_sets(arguments: &Arguments, both: bool, kept: fn(in_first: bool, in_second: bool) -> bool) -> Result<ArrayRef> {
    let first = Lists::of(arguments, 0)?;
    let second = if arguments.len() > 1 { Lists::of(arguments, 1)? } else { Lists(first.0.clone()) };
    let [firsts, seconds] = comparable([first.values(), second.values()])?;
    pick(arguments, &[first.values(), second.values()], |row| {
        let (Some(of_first), Some(of_second)) = (first.range(row), second.range(row)) else { return Ok(None) };
        let mut known: HashMap<&[u8], (bool, bool)> = HashMap::new();
        of_first.clone().for_each(|place| known.entry(firsts.row(place).data()).or_default().0 = true);
        of_second.clone().for_each(|place| known.entry(seconds.row(place).data()).or_default().1 = true);
        let elements = of_first.map(|place| (0, place)).chain(of_second.filter(|_| both).map(|place| (1, place)));
        let picked = elements.filter(|(source, place)| {
            let bytes = if *source == 0 { firsts.row(*place) } else { seconds.row(*place) };
            // It is removed, so that each element comes once.
            known.remove(bytes.data()).is_some_and(|(in_first, in_second)| kept(in_first, in_second))
        });
        Ok(Some(picked.collect()))
    })
}

fn array_distinct(arguments: &Arguments) -> Result<ArrayRef> {
    of_sets(arguments, false, |_, _| true)
}

fn array_union(arguments: &Arguments) -> Result<ArrayRef> {
    of_sets(arguments, true, |_, _| true)
}

fn array_intersect(arguments: &Arguments) -> Result<ArrayRef> {
    of_sets(arguments, false, |_, in_second| in_second)
}

fn array_except(arguments: &Arguments) -> Result<ArrayRef> {
    of_sets(arguments, false, |_, in_second| !in_second)
}

/// The elements from one position to another. Both count from 1, or from the end if negative; 0 is the beginning.
fn array_slice(arguments: &Arguments) -> Result<ArrayRef> {
    let (lists, starts) = (Lists::of(arguments, 0)?, arguments.ints(1)?);
    let ends = (arguments.len() > 2).then(|| arguments.ints(2)).transpose()?;
    pick(arguments, &[lists.values()], |row| {
        let (Some(range), Some(start)) = (lists.range(row), starts.get(row)) else { return Ok(None) };
        let length = i64::try_from(range.len()).unwrap_or(i64::MAX);
        let end = match &ends {
            None => length,
            Some(ends) => match ends.get(row) {
                Some(end) => end,
                None => return Ok(None),
            },
        };
        let from_1 = |place: i64| if place < 0 { place.saturating_add(length + 1) } else { place.max(1) };
        let (start, end) = (from_1(start), from_1(end));
        let out = start > end || start > length || end < 1;
        let (start, end) = (start.max(1), end.min(length));
        let kept = if out { 0..0 } else { start - 1..end };
        let place = |at: i64| usize::try_from(at).unwrap_or(0);
        Ok(Some((range.start + place(kept.start)..range.start + place(kept.end)).map(|place| (0, place)).collect()))
    })
}

/// Sorts ascending with NULLs first, or descending with NULLs last, unless an argument says where NULLs go.
fn array_sort(arguments: &Arguments) -> Result<ArrayRef> {
    let lists = Lists::of(arguments, 0)?;
    let ascending = (arguments.len() > 1).then(|| arguments.booleans(1)).transpose()?;
    let nulls_first = (arguments.len() > 2).then(|| arguments.booleans(2)).transpose()?;
    let [elements] = comparable([lists.values()])?;
    pick(arguments, &[lists.values()], |row| {
        let ascends = ascending.as_ref().map_or(Some(true), |ascending| ascending.get(row));
        let first = nulls_first.as_ref().map_or(ascends, |nulls_first| nulls_first.get(row));
        let (Some(range), Some(ascends), Some(first)) = (lists.range(row), ascends, first) else { return Ok(None) };
        let (nulls, mut values): (Vec<usize>, Vec<usize>) = range.partition(|place| lists.values().is_null(*place));
        values.sort_by(|one, other| {
            let order = elements.row(*one).cmp(&elements.row(*other));
            if ascends { order } else { order.reverse() }
        });
        let sorted = if first { [nulls, values] } else { [values, nulls] };
        Ok(Some(sorted.into_iter().flatten().map(|place| (0, place)).collect()))
    })
}

fn array_reverse(arguments: &Arguments) -> Result<ArrayRef> {
    let lists = Lists::of(arguments, 0)?;
    pick(arguments, &[lists.values()], |row| {
        Ok(lists.range(row).map(|range| range.rev().map(|place| (0, place)).collect()))
    })
}

fn array_max(arguments: &Arguments) -> Result<ArrayRef> {
    extreme(arguments, |values, elements| values.max_by(|one, other| elements.row(*one).cmp(&elements.row(*other))))
}

fn array_min(arguments: &Arguments) -> Result<ArrayRef> {
    extreme(arguments, |values, elements| values.min_by(|one, other| elements.row(*one).cmp(&elements.row(*other))))
}

/// The extreme element. NULLs are passed over; the result is NULL if there is nothing else.
fn extreme(
    arguments: &Arguments,
    chosen: fn(&mut dyn Iterator<Item = usize>, &Rows) -> Option<usize>,
) -> Result<ArrayRef> {
    let lists = Lists::of(arguments, 0)?;
    let [elements] = comparable([lists.values()])?;
    let picked = (0..arguments.rows).map(|row| {
        let range = lists.range(row).unwrap_or_default();
        Ok(chosen(&mut range.filter(|place| lists.values().is_valid(*place)), &elements))
    });
    pick_one(lists.values(), picked)
}

/// Joins the elements. NULLs are left out unless there is a text for them.
fn array_join(arguments: &Arguments) -> Result<ArrayRef> {
    let (lists, separators) = (Lists::of(arguments, 0)?, arguments.texts(1)?);
    let replacements = (arguments.len() > 2).then(|| arguments.texts(2)).transpose()?;
    let values = lists.values().as_string_view_opt().ok_or_else(unexpected)?;
    texts(arguments.rows, |row| {
        let (Some(range), Some(separator)) = (lists.range(row), separators.get(row)) else { return Ok(None) };
        let replacement = replacements.as_ref().map(|replacements| replacements.get(row));
        if replacement == Some(None) {
            return Ok(None);
        }
        let part =
            |place: usize| if values.is_valid(place) { Some(values.value(place)) } else { replacement.flatten() };
        Ok(Some(range.filter_map(part).collect::<Vec<_>>().join(separator)))
    })
}

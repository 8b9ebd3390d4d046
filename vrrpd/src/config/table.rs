//! A TOML table that is read key by key: every fault goes into the list, and reading goes on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Faults, Span};
use super::keys::{Key, Support, meant};
use super::value::{Read, Refusal, kind};

/// Entries of a list, unless a key says otherwise: they are compared each with each, and no node needs more.
pub(super) const LONGEST_LIST: usize = 1000;
/// Tables of a kind, for the same reason; enough for a virtual router on every VLAN.
const MOST_TABLES: usize = 4096;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// What became of a key.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    /// It is not in the file.
    Absent,
    /// It is in the file, or may be, and its value is not known. Nothing more is said about it.
    Unknown,
    /// It has a value that is right by itself.
    Is(At<T>),
}

impl<T> Field<T> {
    /// The value with its place, where the file has one.
    pub(super) fn at(&self) -> Option<&At<T>> {
        match self {
            Self::Is(at) => Some(at),
            Self::Absent | Self::Unknown => None,
        }
    }

    /// The value, where the file has one.
    pub(super) fn given(&self) -> Option<&T> {
        self.at().map(|at| &at.value)
    }

    /// The value in force: that of the file or the default; `None` when the file has a wrong one.
    pub(super) fn or(&self, default: T) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Is(at) => Some(at.value.clone()),
            Self::Absent => Some(default),
            Self::Unknown => None,
        }
    }

    /// As [`or`](Self::or), for a key that may be left out.
    pub(super) fn optional(&self) -> Option<Option<T>>
    where
        T: Clone,
    {
        match self {
            Self::Is(at) => Some(Some(at.value.clone())),
            Self::Absent => Some(None),
            Self::Unknown => None,
        }
    }
}

/// A table whose keys are known.
pub(super) struct Table<'a> {
    /// As it is written in a header: `virtual_router.bootstrap`.
    pub(super) path: String,
    /// Where its name stands.
    pub(super) span: Span,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Reports the keys that are not in `keys` and those that this version cannot obey.
    pub(super) fn open(
        path: String,
        span: Span,
        entries: &'a DeTable<'a>,
        keys: &[Key],
        faults: &mut Faults,
    ) -> Self {
        for key in entries.keys() {
            let name: &str = key.get_ref();
            match keys.iter().find(|known| known.name == name).map(|known| known.support) {
                Some(Support::Full) => {}
                Some(Support::NotYet) => {
                    faults.error(&key.span(), not_implemented(name), "leave it out");
                }
                None => {
                    let place = if path.is_empty() {
                        "at the top of the file".into()
                    } else {
                        format!("in [{path}]")
                    };
                    let label =
                        meant(name, keys).map_or(String::new(), |word| format!("did you mean {word}?"));
                    let shown: String = name.chars().take(64).collect();
                    faults.error(&key.span(), format!("unknown key {shown:?} {place}"), label);
                }
            }
        }
        Self { path, span, entries }
    }

    /// Where the key stands, when it is there.
    pub(super) fn key(&self, key: &str) -> Option<Span> {
        self.entries.get_key_value(key).map(|(name, _)| name.span())
    }

    /// One value.
    pub(super) fn field<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        read: impl FnOnce(&str, &DeValue<'_>) -> Read<T>,
    ) -> Field<T> {
        match self.entries.get(key) {
            // Its line may be among those that could not be read.
            None if faults.incomplete() => Field::Unknown,
            None => Field::Absent,
            Some(value) => one(key, value, faults, read).map_or(Field::Unknown, Field::Is),
        }
    }

    /// One value that has no default; `remedy` says what it may be.
    pub(super) fn required<T>(
        &self,
        key: &str,
        remedy: &str,
        faults: &mut Faults,
        read: impl FnOnce(&str, &DeValue<'_>) -> Read<T>,
    ) -> Field<T> {
        let field = self.field(key, faults, read);
        if matches!(field, Field::Absent) {
            faults.error(&self.span, format!("[{}] has no {key}", self.path), remedy);
        }
        field
    }

    /// Several values of one kind, in their order. Wrong elements are reported and left out.
    pub(super) fn list<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        read: impl Fn(&str, &DeValue<'_>) -> Read<T>,
    ) -> Field<Vec<At<T>>> {
        self.list_of(key, LONGEST_LIST, faults, |element, faults| one(key, element, faults, &read))
    }

    /// As [`list`](Self::list), of up to `most` values that may be tables: `read` reports what is wrong with
    /// one.
    pub(super) fn list_of<T>(
        &self,
        key: &str,
        most: usize,
        faults: &mut Faults,
        mut read: impl FnMut(&Spanned<DeValue<'_>>, &mut Faults) -> Option<At<T>>,
    ) -> Field<Vec<At<T>>> {
        let value = match self.entries.get(key) {
            None if faults.incomplete() => return Field::Unknown,
            None => return Field::Absent,
            Some(value) => value,
        };
        match value.get_ref() {
            DeValue::Array(elements) => {
                if elements.len() > most {
                    let message = format!("{key} has {} entries, out of range 0..={most}", elements.len());
                    faults.error(&value.span(), message, "");
                    return Field::Unknown;
                }
                let list: Vec<At<T>> = elements.iter().filter_map(|element| read(element, faults)).collect();
                if list.is_empty() && !elements.is_empty() {
                    return Field::Unknown;
                }
                Field::Is(At { value: list, span: value.span() })
            }
            other => {
                let label = match other {
                    DeValue::String(text) => format!("write [{text:?}]"),
                    DeValue::Integer(number) => format!("write [{number}]"),
                    _ => String::new(),
                };
                faults.error(&value.span(), format!("{key} must be a list, not {}", kind(other)), label);
                Field::Unknown
            }
        }
    }

    /// A table within this one.
    pub(super) fn table(&self, key: &str, keys: &[Key], faults: &mut Faults) -> Field<Table<'a>> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.table_called(path, key, keys, faults)
    }

    /// A table within this one, which messages call by another name.
    pub(super) fn table_called(
        &self,
        path: String,
        key: &str,
        keys: &[Key],
        faults: &mut Faults,
    ) -> Field<Table<'a>> {
        let Some((name, value)) = self.entries.get_key_value(key) else {
            return if faults.incomplete() { Field::Unknown } else { Field::Absent };
        };
        let DeValue::Table(entries) = value.get_ref() else {
            let found = kind(value.get_ref());
            faults.error(&value.span(), format!("{key} must be a table, not {found}"), "");
            return Field::Unknown;
        };
        let table = Table::open(path, name.span(), entries, keys, faults);
        Field::Is(At { span: name.span(), value: table })
    }

    /// A list of tables within this one. Wrong elements are reported and left out.
    pub(super) fn tables<T>(
        &self,
        key: &str,
        keys: &[Key],
        faults: &mut Faults,
        read: impl Fn(&Table<'_>, &mut Faults) -> Option<T>,
    ) -> Field<Vec<At<T>>> {
        // A list, and not too long.
        let list = self.list(key, faults, |_, _| Ok(()));
        let (Field::Is(list), Some(value)) = (list, self.entries.get(key)) else {
            return if self.key(key).is_some() || faults.incomplete() {
                Field::Unknown
            } else {
                Field::Absent
            };
        };
        let DeValue::Array(elements) = value.get_ref() else { return Field::Unknown };
        let mut tables = Vec::new();
        for element in elements.iter() {
            let DeValue::Table(entries) = element.get_ref() else {
                let found = kind(element.get_ref());
                let label = format!("write {{ {} = ... }}", keys.first().map_or("", |key| key.name));
                faults.error(&element.span(), format!("{key} has tables, not {found}"), label);
                continue;
            };
            let table = Table::open(format!("{}.{key}", self.path), element.span(), entries, keys, faults);
            tables.extend(read(&table, faults).map(|value| At { value, span: element.span() }));
        }
        if tables.len() < elements.len() {
            return Field::Unknown;
        }
        Field::Is(At { value: tables, span: list.span })
    }

    /// The tables with names of the user's choice below `key`, in the order of the file.
    pub(super) fn named(&self, key: &str, keys: &[Key], faults: &mut Faults) -> Vec<(At<String>, Table<'a>)> {
        let Some((header, value)) = self.entries.get_key_value(key) else {
            return Vec::new();
        };
        let DeValue::Table(entries) = value.get_ref() else {
            let found = kind(value.get_ref());
            faults.error(
                &header.span(),
                format!("{key} must be tables with names, not {found}"),
                format!("write [{key}.NAME]"),
            );
            return Vec::new();
        };
        if entries.len() > MOST_TABLES {
            let message = format!("{} tables [{key}.NAME] are out of range 0..={MOST_TABLES}", entries.len());
            faults.error(&header.span(), message, "");
        }
        let mut tables = Vec::new();
        for (name, value) in entries.iter().take(MOST_TABLES) {
            let DeValue::Table(inner) = value.get_ref() else {
                let message = format!("[{key}] needs a name, or {:?} must be a table", name.get_ref());
                faults.error(&name.span(), message, format!("write [{key}.NAME]"));
                continue;
            };
            if let Err(Refusal { message, label }) = super::value::table_name(name.get_ref()) {
                faults.error(&name.span(), message, label);
            }
            let path = format!("{key}.{}", name.get_ref());
            let table = Table::open(path, name.span(), inner, keys, faults);
            tables.push((At { value: name.get_ref().to_string(), span: name.span() }, table));
        }
        // The map of the parser is sorted by name.
        tables.sort_by_key(|(name, _)| name.span.start);
        tables
    }
}

/// One value that is no table of its own.
pub(super) fn one<T>(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Faults,
    read: impl FnOnce(&str, &DeValue<'_>) -> Read<T>,
) -> Option<At<T>> {
    match read(key, value.get_ref()) {
        Ok(read) => Some(At { value: read, span: value.span() }),
        Err(Refusal { message, label }) => {
            faults.error(&value.span(), message, label);
            None
        }
    }
}

fn not_implemented(what: &str) -> String {
    format!("{what} is not implemented in this version of vrrpd")
}

//! Tables as data: the rows' structs and every statement come from one list of columns.

use super::value::{Kind, Value};

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

/// What happens to a row whose key is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It stays: such a row never changes.
    Stays,
    /// A newer one replaces it; what is null in the newer one, and when it began, stays.
    Merges,
    /// A newer one replaces it.
    Replaces,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// The primary key.
    pub key: &'static [&'static str],
    /// The order of pages: columns that never change and are unique together.
    pub order: &'static [&'static str],
    pub descending: bool,
    pub again: Again,
}

/// A row of a table.
pub(crate) trait Row: Sized + Send + Sync + 'static {
    const TABLE: Table;
    fn seq(&self) -> i64;
    fn into_values(self) -> Vec<Value>;
    fn from_values(values: Vec<Value>) -> Option<Self>;
}

/// Declares a row's struct and its table from one list.
macro_rules! row {
    (
        $(#[$doc:meta])*
        $name:ident in $table:literal key $key:expr, order $order:expr, descending $descending:expr, again $again:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $crate::store::table::Row for $name {
            const TABLE: $crate::store::table::Table = $crate::store::table::Table {
                name: $table,
                columns: &[$( $crate::store::table::Column {
                    name: stringify!($field),
                    kind: <$type as $crate::store::value::Cell>::KIND,
                    nullable: <$type as $crate::store::value::Cell>::NULLABLE,
                }, )*],
                key: &$key,
                order: &$order,
                descending: $descending,
                again: $crate::store::table::Again::$again,
            };

            fn seq(&self) -> i64 {
                self.seq
            }

            fn into_values(self) -> Vec<$crate::store::value::Value> {
                vec![$( $crate::store::value::Cell::into_value(self.$field), )*]
            }

            fn from_values(values: Vec<$crate::store::value::Value>) -> Option<Self> {
                let mut values = values.into_iter();
                Some($name { $( $field: $crate::store::value::Cell::from_value(values.next()?)?, )* })
            }
        }
    };
}
pub(crate) use row;

impl Table {
    /// The column of a name.
    pub(crate) fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The places of columns in a row.
    pub(crate) fn places(&self, names: &[&str]) -> Vec<usize> {
        let place = |name: &&str| self.columns.iter().position(|column| column.name == *name);
        names.iter().map(|name| place(name).expect("a table's key and order are among its columns")).collect()
    }

    /// The types of a row.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.columns.iter().map(|column| column.kind).collect()
    }

    /// All columns, as a list in SQL.
    pub(crate) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// The end of an insertion: what happens to rows that are there.
    pub(crate) fn on_conflict(&self) -> String {
        let (table, key) = (self.name, self.key.join(", "));
        if self.again == Again::Stays {
            return format!("ON CONFLICT ({key}) DO NOTHING");
        }
        let changing = self.columns.iter().filter(|column| !self.key.contains(&column.name) && !self.keeps(column));
        let set = changing.map(|column| match (self.again, column.nullable) {
            (Again::Merges, true) => format!("{0} = COALESCE(excluded.{0}, {table}.{0})", column.name),
            _ => format!("{0} = excluded.{0}", column.name),
        });
        let set = set.collect::<Vec<_>>().join(", ");
        format!("ON CONFLICT ({key}) DO UPDATE SET {set} WHERE {table}.seq <= excluded.seq")
    }

    /// Whether the first row of a key says it for good.
    fn keeps(&self, column: &Column) -> bool {
        self.again == Again::Merges && self.order.contains(&column.name)
    }

    /// Leaves one row of each key, in the way of [`Table::on_conflict`]. PostgreSQL touches a row once per statement only.
    pub(crate) fn merge(&self, rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
        if self.again == Again::Stays {
            // The first of a key stays, in a statement as between statements.
            return rows;
        }
        let key = self.places(self.key);
        let mut places = std::collections::HashMap::with_capacity(rows.len());
        let mut merged: Vec<Vec<Value>> = Vec::with_capacity(rows.len());
        for row in rows {
            let id: Vec<Value> = key.iter().map(|&at| row[at].clone()).collect();
            match places.entry(id) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(merged.len());
                    merged.push(row);
                }
                std::collections::hash_map::Entry::Occupied(entry) => self.merge_into(&mut merged[*entry.get()], row),
            }
        }
        merged
    }

    fn merge_into(&self, there: &mut [Value], newer: Vec<Value>) {
        for ((there, newer), column) in there.iter_mut().zip(newer).zip(self.columns) {
            let merges = self.again == Again::Merges;
            let stays = merges && (self.keeps(column) || column.nullable && newer == Value::Null);
            if !stays {
                *there = newer;
            }
        }
    }
}

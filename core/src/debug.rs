//! `Debug` for types that do not show all of their parts, or have some that cannot be shown.

/// `debug!(Type)`, or `debug!(Type<T: Bound> => |this| field: this.field, other: this.other())`.
macro_rules! debug {
    ($type:ident $(<$($parameter:ident $(: $bound:ident)?),*>)? $(=> |$this:ident| $($field:ident: $value:expr),+)?) => {
        impl $(<$($parameter $(: $bound)?),*>)? core::fmt::Debug for $type $(<$($parameter),*>)? {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $(let $this = self;)?
                f.debug_struct(stringify!($type))$($(.field(stringify!($field), &$value))+)?.finish_non_exhaustive()
            }
        }
    };
}

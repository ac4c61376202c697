//! What Windows is told to run, and what must not stand there.

use std::path::Path;

use crate::config::table::{Row, TABLE, row};
use crate::config::{Layers, Origin};

/// Where the service is installed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The folder of the user who installs it; the service can't read it.
    pub(super) profile: Option<&'a Path>,
}

impl Place<'_> {
    /// The arguments of the service that has the flags `given`.
    ///
    /// # Errors
    ///
    /// A flag that holds a password, which is not repeated, or a file that the service can't read.
    pub(super) fn arguments(self, given: &[(&'static str, String)]) -> Result<Vec<String>, String> {
        let mut all = vec!["service".to_owned(), "run".to_owned(), "--".to_owned()];
        for (key, value) in given {
            if reveals(key, value) {
                return Err(format!(
                    "--{key}: everybody on this computer can read the flags of a service; put {key} into a \
                     file that only administrators and LOCAL SERVICE can read, and give --config FILE"
                ));
            }
            let value =
                if names_a_file(key, value) { self.full(key, value)? } else { value.clone() };
            all.push(format!("--{key}={value}"));
        }
        Ok(all)
    }

    /// The full path of a file, for a service starts in another folder.
    fn full(self, key: &str, value: &str) -> Result<String, String> {
        let wrong = |why: &str| format!("--{key} {value}: {why}");
        let path = std::path::absolute(value).map_err(|error| wrong(&error.to_string()))?;
        if self.owns(&path) {
            return Err(wrong(
                r"a service can't read your own folder; put it into another, such as C:\ProgramData\sami-proxy",
            ));
        }
        path.into_os_string().into_string().map_err(|_| wrong("the path is not Unicode"))
    }

    /// Whether the service can run `program`.
    ///
    /// # Errors
    ///
    /// It can't.
    pub(super) fn program(self, program: &Path) -> Result<(), String> {
        if self.owns(program) {
            return Err(format!(
                r"{}: a service can't run a program in your own folder; copy it into another, such as C:\Program Files\sami-proxy, and install it from there",
                program.display()
            ));
        }
        Ok(())
    }

    /// Whether `path` is in the user's folder. Windows does not mind capitals.
    fn owns(self, path: &Path) -> bool {
        let plain = |path: &Path| path.to_string_lossy().to_lowercase();
        self.profile.is_some_and(|profile| Path::new(&plain(path)).starts_with(plain(profile)))
    }
}

/// Whether the value is, or has, a password.
fn reveals(key: &str, value: &str) -> bool {
    row(key).is_some_and(|row| row.secret && (row.value != "URL" || value.contains('@')))
}

fn names_a_file(key: &str, value: &str) -> bool {
    let of_row = |row: &Row| ["FILE", "DIR"].contains(&row.value) && row.default != value;
    row(key).map_or(key == crate::cli::args::CONFIG, of_row)
}

/// Holds that every file in the configuration file has a full path.
///
/// # Errors
///
/// The first that has none.
pub(super) fn only_full_paths(layers: &Layers) -> Result<(), String> {
    for row in TABLE {
        let Some(given) = layers.get(row.key) else { continue };
        let from_file = matches!(given.origin, Origin::File { .. });
        let short =
            |value: &&String| names_a_file(row.key, value) && !Path::new(value).is_absolute();
        if let Some(value) = given.values.iter().find(short).filter(|_| from_file) {
            let why = "a service starts in another folder: give the full path";
            return Err(format!("{}: {value}: {why}", given.origin));
        }
    }
    Ok(())
}

/// What a person may not expect: the service does not see the variables of a window.
pub(super) fn notes(layers: &Layers) -> impl Iterator<Item = String> {
    TABLE.iter().filter_map(|row| match &layers.get(row.key)?.origin {
        Origin::Variable(name) => Some(format!(
            "the service has {name} only if it is a variable of the system (setx /M), not of this window"
        )),
        Origin::Flag(_) | Origin::File { .. } | Origin::Default(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Place, notes, only_full_paths};
    use crate::config::Layers;

    const PLACE: Place<'_> = Place { profile: None };

    #[test]
    fn flags_are_passed_on_as_they_are_and_files_with_their_full_path() {
        let given = [
            ("listen", "127.0.0.1:8080".to_owned()),
            ("open", "true".to_owned()),
            ("upstream", "socks5://parent.example:1080".to_owned()),
            ("state-dir", "auto".to_owned()),
            ("config", "our settings.toml".to_owned()),
        ];
        let here = std::path::absolute("our settings.toml").unwrap();
        let expected = [
            "service",
            "run",
            "--",
            "--listen=127.0.0.1:8080",
            "--open=true",
            "--upstream=socks5://parent.example:1080",
            "--state-dir=auto",
            &format!("--config={}", here.display()),
        ];
        assert_eq!(PLACE.arguments(&given).unwrap(), expected);
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for (key, value) in
            [("auth", "sami:secret"), ("upstream", "http://sami:secret@parent:8080")]
        {
            let error = PLACE.arguments(&[(key, value.to_owned())]).unwrap_err();
            assert!(error.contains(key) && error.contains("--config FILE"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_the_service_can_not_read_is_refused() {
        let place = Place { profile: Some(Path::new("/Users/Anna")) };
        let file = |path: &str| place.arguments(&[("auth-file", path.to_owned())]);
        assert!(file("/users/anna/Desktop/users").unwrap_err().contains("own folder"));
        assert!(file("/users/annabel/users").is_ok());
        assert!(place.program(Path::new("/Users/Anna/Downloads/sami-proxy.exe")).is_err());
        assert!(place.program(Path::new("/Program Files/sami-proxy.exe")).is_ok());
    }

    #[test]
    fn a_file_of_settings_has_full_paths() {
        for (text, good) in [
            ("auth-file = 'users'", false),
            ("auth-file = '/srv/users'", true),
            ("state-dir = 'auto'", true),
            ("log-level = 'info'", true),
        ] {
            let mut layers = Layers::defaults();
            layers.add_file(Path::new("/srv/c.toml"), text).unwrap();
            assert_eq!(only_full_paths(&layers).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_variable_of_the_window_is_mentioned() {
        let mut layers = Layers::defaults();
        assert_eq!(notes(&layers).count(), 0);
        let pair = ("SAMI_PROXY_OPEN".to_owned(), "true".to_owned());
        layers.add_environment([pair].into_iter()).unwrap();
        assert!(notes(&layers).all(|note| note.contains("SAMI_PROXY_OPEN")));
        assert_eq!(notes(&layers).count(), 1);
    }
}

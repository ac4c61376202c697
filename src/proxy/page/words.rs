//! What the page says, in each language. The texts are HTML and hold nothing that came from outside.

use super::Language;

/// Every text of the page.
#[derive(Debug)]
pub(super) struct Words {
    /// BCP 47 tag.
    pub lang: &'static str,
    pub works: &'static str,
    pub reached: &'static str,
    /// Goes on with the address.
    pub from: &'static str,
    pub enter_heading: &'static str,
    pub enter: &'static str,
    pub empty: &'static str,
    pub username: &'static str,
    pub password: &'static str,
    pub where_set: &'static str,
    pub only_here: &'static str,
    pub reach_heading: &'static str,
    pub reach_with_credentials: &'static str,
    pub reach_trusted: &'static str,
    pub reach_stranger: &'static str,
    pub check_heading: &'static str,
    pub check: &'static str,
    /// Stands for the user name in the command.
    pub name: &'static str,
    pub answer: &'static str,
    pub answer_with_credentials: &'static str,
    pub health: &'static str,
    pub pac_heading: &'static str,
    pub pac: &'static str,
}

/// The texts in `language`.
pub(super) const fn words(language: Language) -> &'static Words {
    match language {
        Language::Ru => &RU,
        Language::En => &EN,
    }
}

const RU: Words = Words {
    lang: "ru",
    works: "Прокси работает",
    reached: "Это sami-proxy, и ваш браузер с ним соединился.",
    from: "Вы пришли с адреса",
    enter_heading: "Что ввести в Sami",
    enter: "Откройте в Sami настройки прокси и заполните поля:",
    empty: "оставьте пустым",
    username: "имя, которое вы задали на сервере",
    password: "пароль, который вы задали на сервере",
    where_set: "Имя и пароль задаются при запуске сервера: <code>SAMI_PROXY_AUTH=имя:пароль</code>",
    only_here: "Такой Host годится, только если Sami работает на этом же компьютере. \
        На другом компьютере введите адрес сервера.",
    reach_heading: "Что доступно через прокси",
    reach_with_credentials: "С верными именем и паролем — весь интернет, кроме того, \
        что запрещено в настройках сервера. Без них — ничего.",
    reach_trusted: "Весь интернет, кроме того, что запрещено в настройках сервера. \
        Имя и пароль вам не нужны.",
    reach_stranger: "Только нейросети: OpenAI, Anthropic, Google и другие из встроенного списка. \
        Чтобы открыть и остальные сайты, задайте имя и пароль при запуске сервера: \
        <code>SAMI_PROXY_AUTH=имя:пароль</code>",
    check_heading: "Как проверить",
    check: "Откройте командную строку (терминал) и введите:",
    name: "ИМЯ",
    answer: "Если в ответе есть число 401, всё работает: запрос дошёл до OpenAI, \
        и там спросили ключ.",
    answer_with_credentials: "Вместо слова ИМЯ поставьте имя, заданное на сервере; пароль программа спросит сама. \
        Если в ответе есть число 401, всё работает: запрос дошёл до OpenAI, и там спросили ключ. \
        Число 407 означает, что имя или пароль неверны.",
    health: "Не работает? Спросите сам прокси, есть ли у него выход в интернет:",
    pac_heading: "Для всего компьютера",
    pac: "Укажите этот адрес в сетевых настройках системы или браузера как адрес сценария \
        настройки прокси (PAC): через прокси пойдут только обращения \
        к нейросетям, а всё остальное — напрямую.",
};

const EN: Words = Words {
    lang: "en",
    works: "The proxy works",
    reached: "This is sami-proxy, and your browser reaches it.",
    from: "You come from",
    enter_heading: "What to enter in Sami",
    enter: "Open the proxy settings in Sami and fill in the fields:",
    empty: "leave empty",
    username: "the user name you set on the server",
    password: "the password you set on the server",
    where_set: "They are set when the server is started: <code>SAMI_PROXY_AUTH=name:password</code>",
    only_here: "This Host is right only if Sami runs on this same computer. \
        On another computer enter the address of the server.",
    reach_heading: "What you can reach through it",
    reach_with_credentials: "With the right user name and password the whole internet, \
        except what the settings of the server forbid. Without them, nothing.",
    reach_trusted: "The whole internet, except what the settings of the server forbid. \
        You need no user name and password.",
    reach_stranger: "Only LLM services: OpenAI, Anthropic, Google and others of a built-in list. \
        To open the rest of the internet too, set a user name and a password when you start the \
        server: \
        <code>SAMI_PROXY_AUTH=name:password</code>",
    check_heading: "How to check",
    check: "Open a command prompt (terminal) and run:",
    name: "NAME",
    answer: "If you see the number 401 in the answer, everything works: the request reached \
        OpenAI, which asked for a key.",
    answer_with_credentials: "Put your user name in place of NAME; you will be asked for the \
        password. If you see the number 401 in the answer, everything works: the request reached \
        OpenAI, which asked for a key. The number 407 means that the name or password is wrong.",
    health: "If it does not work, ask the proxy itself whether it can reach the internet:",
    pac_heading: "For the whole computer",
    pac: "Enter this address as the setup script (PAC) in the network settings of your system or \
        browser: then only LLM services go through the proxy, everything else goes directly.",
};

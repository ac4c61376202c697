//! Whose machine a server is, by what it says of itself (SMBIOS, cloud-init).

use crate::diag::fact::Provider;

/// A word of what a machine says → its hosting; those with a name of their own before the software
/// that several use.
const SIGNS: &[(&str, Provider)] = &[
    ("hetzner", Provider::Hetzner),
    ("digitalocean", Provider::DigitalOcean),
    ("amazon ec2", Provider::Aws),
    ("amazon", Provider::Aws),
    ("google compute engine", Provider::Google),
    ("google", Provider::Google),
    // The chassis tag of every virtual machine of Azure.
    ("7783-7084-3265-9085-8269-3286-77", Provider::Azure),
    ("azure", Provider::Azure),
    ("oraclecloud", Provider::Oracle),
    ("ovh", Provider::Ovh),
    ("vultr", Provider::Vultr),
    ("linode", Provider::Linode),
    ("akamai", Provider::Linode),
    ("yandex", Provider::Yandex),
    ("selectel", Provider::Selectel),
    ("timeweb", Provider::Timeweb),
    ("twc", Provider::Timeweb),
    ("mail.ru", Provider::Vk),
    ("vk cloud", Provider::Vk),
    ("scaleway", Provider::Scaleway),
    ("alibaba", Provider::Alibaba),
    ("tencent", Provider::Tencent),
    ("upcloud", Provider::UpCloud),
    ("ionos", Provider::IonosCloud),
    ("openstack", Provider::OpenStack),
];

/// The hosting, when something in `told` is its sign.
pub fn of(told: &[String]) -> Option<Provider> {
    let told: Vec<String> = told.iter().map(|it| it.to_ascii_lowercase()).collect();
    let has = |sign: &str| told.iter().any(|it| it.contains(sign));
    SIGNS.iter().find(|(sign, _)| has(sign)).map(|(_, provider)| *provider)
}

impl Provider {
    /// Its name, and where in its console the firewall is, in the words of the console.
    pub const fn console(self) -> (&'static str, &'static str) {
        match self {
            Self::Hetzner => ("Hetzner", "Cloud Console → Firewalls; Robot → Server → Firewall"),
            Self::DigitalOcean => ("DigitalOcean", "Networking → Firewalls → Inbound Rules"),
            Self::Aws => ("AWS", "EC2 → Security Groups → Inbound rules; VPC → Network ACLs"),
            Self::Google => ("Google Cloud", "VPC network → Firewall"),
            Self::Azure => ("Azure", "Virtual machine → Networking → Inbound port rules"),
            Self::Oracle => {
                ("Oracle Cloud", "Networking → VCN → Security Lists, Network Security Groups")
            }
            Self::Ovh => ("OVHcloud", "Network → IP → Network Firewall"),
            Self::Vultr => ("Vultr", "Network → Firewall"),
            Self::Linode => ("Akamai (Linode)", "Networking → Firewalls → Rules"),
            Self::Yandex => ("Yandex Cloud", "Virtual Private Cloud → Security groups"),
            Self::Selectel => ("Selectel", "Cloud → Network → Firewalls; Port security groups"),
            Self::Timeweb => ("Timeweb Cloud", "Network → Firewall"),
            Self::Vk => ("VK Cloud", "Cloud networks → Firewall settings"),
            Self::Scaleway => ("Scaleway", "Compute → Instances → Security Groups"),
            Self::Alibaba => ("Alibaba Cloud", "ECS → Network & Security → Security Groups"),
            Self::Tencent => ("Tencent Cloud", "CVM → Security Groups; Lighthouse → Firewall"),
            Self::UpCloud => ("UpCloud", "Servers → Firewall"),
            Self::IonosCloud => ("IONOS", "Server & Cloud → Network → Firewall Policies"),
            Self::OpenStack => ("OpenStack", "Network → Security Groups"),
        }
    }
}

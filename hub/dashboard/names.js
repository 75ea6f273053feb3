// Names of modules, as the hub takes them.

export const NAME = /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/;
export const NAME_RULE = "1 to 63 letters, digits and -, beginning with a letter or digit.";

"""Other words: a shop's taxonomy beside our own (`--vocabulary shopify|google|FILE.yaml`).

Signatures first; the bodies follow.

    load_vocabulary(name: str | Path) -> Vocabulary            # raises ConfigError, all problems at once
    shop_words(garment: Garment, vocabulary: Vocabulary) -> ShopWords
    ShopWords: .category: str | None (full path), .category_id: str | None,
               .attributes: list[ShopAttribute(attribute: str, value: str)], .colours: list[str]
    Vocabulary: .name: str, .version: str
"""

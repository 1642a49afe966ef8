"""Which garment of a photo is for sale.

Signatures first; the bodies follow.

    main_garment(result: Result, hint: str | None = None) -> int | None      # index in result.garments
    hint_category(text: str, space: LabelSpace) -> frozenset[str]            # categories' names; empty: nothing known
"""

"""The words that shops use for garments, for `hemline.catalog.main_garment.hint_category`.

Keys are Fashionpedia's categories, several joined by ` | ` where a word leaves it open. Words stand without accents,
hyphens and capitals, in the singular where `s` or `es` makes the plural; words of a phrase are joined by a space,
entries by a comma.
"""

SHIRT, TOP, SWEATER, TIGHTS = "shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "tights, stockings"
BAG, HEADBAND = "bag, wallet", "headband, head covering, hair accessory"

LAST = {
    SHIRT: "shirt, blouse, overshirt, hemd, hemden, bluse, blusen",
    TOP: (
        "top, t shirt, tshirt, tee shirt, tee, sweatshirt, sweat shirt, polo, polo shirt, poloshirt, rugby shirt, "
        "henley, henley shirt, tank, tank top, camisole, cami, vest top, tube top, crop top, undershirt, singlet, "
        "unterhemd"
    ),
    f"{TOP} | jacket": "hoodie, hoody, kapuzenpullover, kapuzenpulli",
    f"{TOP} | {SHIRT} | {SWEATER}": "tops, oberteil, oberteile",
    f"{TOP} | {SHIRT} | dress": "tunic, tunika",
    f"{TOP} | jumpsuit": "bodysuit, body suit",
    SWEATER: "sweater, jumper, pullover, pulli, strickpullover",
    f"{SWEATER} | cardigan": "knitwear, strickwaren",
    f"{SWEATER} | vest": "sweater vest, pullunder",
    "cardigan": "cardigan, strickjacke, strickjacken",
    "cardigan | coat": "cardigan coat, coatigan, strickmantel",
    "jacket": "jacket, blazer, windbreaker, bolero, jacke, jacken, sakko, blouson",
    f"jacket | {SHIRT}": "shirt jacket, shacket",
    "jacket | coat": "parka, anorak",
    "jacket | coat | vest | cape": "outerwear, outwear",
    "jacket | pants": "pant suit, pantsuit, trouser suit, anzug, anzuge",
    f"jacket | pants | {TOP}": "tracksuit, track suit, trainingsanzug",
    "vest": "vest, waistcoat, gilet, body warmer, bodywarmer, weste, westen",
    "pants": (
        "pants, pant, trouser, slacks, jean, chino, jogger, sweatpants, sweat pant, culottes, jeggings, cords, "
        "bell bottom, hose, hosen, jeanshose"
    ),
    f"pants | {TIGHTS}": "leggings, legging",
    "pants | shorts | skirt": "bottoms",
    "shorts": "shorts, bermuda, boardshorts, trunks, kurze hose, kurze hosen",
    "shorts | skirt": "skort, hosenrock",
    "skirt": "skirt, kilt, rock, rocke",
    "coat": "coat, trenchcoat, raincoat, overcoat, peacoat, topcoat, mantel",
    "dress": "dress, gown, frock, sundress, pinafore, kleid, kleider, dirndl",
    "jumpsuit": (
        "jumpsuit, jump suit, playsuit, romper, dungarees, dungaree, overalls, overall, boiler suit, boilersuit, "
        "catsuit, onesie, latzhose"
    ),
    "cape": "cape, poncho, umhang",
    "glasses": "glasses, sunglasses, eyeglasses, eyewear, spectacles, brille, brillen, sonnenbrille, sonnenbrillen",
    "hat": "hat, cap, beanie, beret, fedora, visor, headwear, mutze, mutzen, hut, hute, kappe, kappen",
    HEADBAND: "headband, hairband, scrunchie, bandana, hair clip, turban, stirnband, haarband",
    "tie": "tie, necktie, neck tie, bow tie, bowtie, krawatte, krawatten, fliege",
    "glove": "glove, mitten, handschuh, handschuhe",
    "watch": "watch, wristwatch, armbanduhr, uhr, uhren",
    "belt": "belt, gurtel",
    "leg warmer": "leg warmer, legwarmer, beinstulpen",
    TIGHTS: "tights, stocking, hosiery, pantyhose, strumpfhose, strumpfhosen",
    "sock": "sock, socke, socken, strumpf, strumpfe",
    "shoe": (
        "shoe, sneaker, trainer, boot, bootie, sandal, heels, pumps, loafer, slipper, flip flop, mule, clog, "
        "brogue, moccasin, espadrille, stilettos, footwear, cleats, high top, low top, schuh, schuhe, turnschuh, "
        "turnschuhe, stiefel, stiefelette, stiefeletten, sandale, sandalen"
    ),
    BAG: (
        "bag, handbag, backpack, rucksack, tote, clutch, purse, wallet, satchel, duffel, crossbody, tasche, "
        "taschen, handtasche, geldborse"
    ),
    "scarf": "scarf, scarves, shawl, stole, snood, schal, schals, halstuch",
    "umbrella": "umbrella, regenschirm, schirm",
}
"""Of several in a clause the last counts: a dress shirt is a shirt, a shirt dress a dress. English, German."""

FIRST = {
    SHIRT: "chemise, chemisier, camisa, blusa, camicia, camicie, camicetta, camicette",
    TOP: "debardeur, marcel, sweat, camiseta, sudadera, maglietta, magliette, felpa, felpe, canotta, canotte",
    f"{TOP} | {SWEATER}": "maglia, maglie",
    SWEATER: "pull, chandail, jerseis, maglione, maglioni",
    "cardigan": "rebeca",
    "jacket": "veste, chaqueta, cazadora, americana, giacca, giacche, giubbotto, giubbotti",
    "jacket | coat": "doudoune, plumifero, piumino, piumini",
    "jacket | pants": "costume homme, traje, completo",
    "vest": "chaleco",
    "pants": "pantalon, pantaloni, vaqueros, tejanos",
    "shorts": "pantaloncini, pantalon court, pantalon corto, pantalones cortos",
    "skirt": "jupe, falda, gonna, gonne",
    "coat": "manteau, manteaux, impermeable, abrigo, gabardina, cappotto, cappotti",
    "dress": "robe, vestido, vestito, vestiti, abito, abiti",
    "jumpsuit": "combinaison, salopette, combipantalon, tuta, tute",
    "cape": "mantella",
    "glasses": "lunettes, gafas, occhiali",
    "hat": "chapeau, chapeaux, bonnet, casquette, sombrero, gorra, gorro, cappello, cappelli",
    "tie": "cravate, corbata, cravatta, cravatte",
    "glove": "gant, guante, guanti",
    "watch": "montre, reloj, relojes, orologio, orologi",
    "belt": "ceinture, cinturon, cinturones, cintura, cinture",
    TIGHTS: "collant, collants, medias",
    "sock": "chaussette, calcetin, calcetines, calzini, calze",
    "shoe": (
        "chaussure, botte, bottine, basket, sandale, escarpin, zapato, zapatilla, bota, botin, botines, sandalia, "
        "scarpa, scarpe, stivale, stivali, sandali"
    ),
    BAG: "sac, sacoche, bolso, mochila, borsa, borse, borsetta, borsette, zaino, zaini",
    "scarf": "echarpe, foulard, bufanda, panuelo, sciarpa, sciarpe",
    "umbrella": "parapluie, paraguas, ombrello",
}
"""Where one of these stands in a clause, the first garment of it counts: `robe chemise` is a dress. French, Spanish,
Italian."""

WEAK = {
    SHIRT: "button down, button up, flannel",
    f"{TOP} | {SHIRT}": "long sleeve, short sleeve, jersey",
    f"{TOP} | jacket": "fleece",
    f"{SWEATER} | {TOP}": "turtleneck, rollneck, knit, strick",
    "jacket": "bomber",
    "jacket | coat": "puffer",
    "jacket | pants": "suit",
    "coat": "trench",
    "pants": "denim",
    "shorts": "short",
    "shoe": "flats, wedge, oxfords, slip on, runner",
}
"""What counts only where nothing else in the text names a garment."""

NOTHING = (
    "swimsuit, swim suit, bikini, bikini top, bikini bottoms, bikini bottom, bra, bralette, brief, boxer brief, "
    "boxer, boxer shorts, underwear, lingerie, pyjama, pajama, bathrobe, bath robe, dressing gown, suitcase, suit "
    "case, hanger, coat hanger, coat rack, shoelace, shoe lace, shoe rack, shoe polish, shoe tree, tie clip, tie "
    "pin, tie bar, hat box, watch strap, bag charm, badeanzug, bademantel, maillot de bain, banador, costume da "
    "bagno"
)
"""Goods for which no category stands: as good as a garment's name, but an answer of none."""

PASSED_OVER = (
    "tie dye, tie front, tie waist, tie neck, tie back, tie side, tie up, polo neck, boot cut, bootcut, cap "
    "sleeve, pull on, belt loop, shirt collar, top handle, dress code, watch pocket"
)
"""Phrases that hold a garment's name and name none."""

SUFFIXES = {
    SHIRT: "hemd, hemden, bluse, blusen",
    f"{SHIRT} | {TOP}": "shirt, shirts",
    SWEATER: "pullover, pulli, sweater",
    "cardigan": "strickjacke, strickjacken",
    "jacket": "jacke, jacken, jacket, jackets",
    "vest": "weste, westen",
    "pants": "hose, hosen, pants, jeans",
    "shorts": "shorts",
    "skirt": "rock, rocke, skirt, skirts",
    "coat": "mantel, coat, coats",
    "dress": "kleid, kleider, dress, dresses",
    "shoe": "schuh, schuhe, stiefel, shoe, shoes, boots",
    "glove": "handschuh, handschuhe",
    "hat": "mutze, mutzen, kappe, kappen",
    TIGHTS: "strumpfhose, strumpfhosen",
    "sock": "socke, socken, socks",
    BAG: "tasche, taschen, bag, bags, rucksack",
    "belt": "gurtel",
    "scarf": "schal, schals",
    "glasses": "brille, brillen",
    "jumpsuit": "latzhose, latzhosen",
}
"""How an unknown word may end, after three letters or more: a Winterjacke is a jacket. The longest end counts."""

CUTS = (
    "with without w in for by from of featuring over under mit aus fur von im ohne zu zum avec en de du des pour "
    "sans a au aux con para sin del di da per senza"
)
"""Words that begin a new clause; the first clause that names a garment counts."""

JOINS = "and und et y e"
"""Words between clauses that count alike."""

"""Word lists of the invented valley. Every list is what its name says and nothing more."""

GROUPS = (
    "Tovins", "Marlocs", "Ubrens", "Quellans", "Sornites", "Dapplins", "Orvanes", "Hestrils",
    "Wendocks", "Lurmans", "Pellows", "Ixtrals", "Brannocks", "Cavels", "Drosts", "Ervings",
    "Faltors", "Grennicks", "Jassels", "Korvans", "Mistrals", "Nollens", "Rastins", "Vellums",
)  # fmt: skip

# topic -> four habits, as predicates of a plural subject
TOPICS: dict[str, tuple[str, str, str, str]] = {
    "punctuality": ("are late to supper", "miss the ferry", "forget market day", "oversleep"),
    "cooking": ("burn the porridge", "salt the soup twice", "serve cold stew", "drop the eggs"),
    "music": ("sing off key", "hum at night", "drum before dawn", "lose the tune"),
    "gardens": ("drown the beans", "plant turnips upside down", "neglect hedges", "feed the slugs"),
    "boats": ("steer in circles", "lose their oars", "tie bad knots", "scrape the pier"),
    "games": ("argue over dice", "hide the chess pieces", "cheat at marbles", "sulk at cards"),
    "letters": ("misplace the mail", "write blots", "seal empty envelopes", "forget stamps"),
    "weather": ("fear light rain", "forecast snow", "quarrel with the wind", "curse the fog"),
}
HABITS = tuple(habit for habits in TOPICS.values() for habit in habits)
TOPIC_OF = {habit: topic for topic, habits in TOPICS.items() for habit in habits}

# The last word of a pair is how the verb reads in the past; the first half is irregular.
IRREGULAR = (
    "hid", "sold", "lit", "broke", "bought", "bent", "drew", "dug", "froze", "gave", "held", "kept",
    "left", "lent", "lost", "rode", "shook", "shut", "stole", "swept", "swung", "took", "tore",
    "wound",
)  # fmt: skip
REGULAR = (
    "folded", "painted", "borrowed", "washed", "buried", "carried", "counted", "traded", "covered",
    "opened", "moved", "tied", "dropped", "filled", "guarded", "hired", "lifted", "marked",
    "named", "pulled", "raised", "sealed", "turned", "wrapped",
)  # fmt: skip
VERBS = IRREGULAR + REGULAR
OBJECTS = (
    "lantern", "bell", "ladder", "basket", "ribbon", "kettle", "banner", "compass", "drum", "key",
    "mirror", "candle", "wagon", "blanket", "flute", "map", "anchor", "barrel", "bucket", "carpet",
    "chest", "clock", "crown", "cup", "hammer", "harp", "hat", "jug", "knife", "loom", "needle",
    "net", "oar", "pillow", "plough", "purse", "ring", "rope", "saddle", "sail", "scarf", "shovel",
    "spade", "spoon", "stool", "tent", "whistle", "yoke",
)  # fmt: skip

TRADES = (
    "tinker", "weaver", "cooper", "miller", "potter", "glazier", "thatcher", "chandler", "saddler",
    "fuller", "tanner", "mason", "carter", "cutler", "hatter", "dyer", "baker", "brewer",
    "fletcher", "joiner", "piper", "scribe", "surveyor", "ferryman",
)  # fmt: skip
SIDES = ("Harbour", "Hill")
"""The two sides of the valley; index = sensitive attribute."""

THINGS = (
    "stew", "spring", "cider", "bread", "road", "song", "tale", "cheese", "bench", "boat", "bed",
    "cellar", "garden", "dance", "feast", "fire", "fish", "honey", "inn", "lamp", "market",
    "meadow", "mill", "morning", "pie", "play", "pond", "rain", "roof", "soap", "tea", "wool",
)  # fmt: skip
ADJECTIVES = (
    "cold", "warm", "dark", "pale", "loud", "still", "rough", "smooth", "sweet", "sour", "slow",
    "quick", "heavy", "light", "dry", "damp", "old", "new", "long", "short", "thick", "thin",
    "sharp", "blunt", "wild", "tame", "plain", "ornate", "deep", "shallow", "steep", "narrow",
    "broad", "bitter", "mild", "salty", "dusty", "crisp", "soft", "stiff", "golden", "grey",
    "hollow", "dense", "early", "late", "rare", "common",
)  # fmt: skip

HARBOUR_WORDS = (
    "tib", "brindle", "quen", "sallop", "mirk", "dottle", "fenn", "grabe", "hask", "jorl", "kemble",
    "lurch", "mantle", "nib", "oddle", "pash", "quill", "rasp", "scud", "trindle", "ulp", "vane",
    "wisp", "yarrow", "zell", "bram", "clew", "dunt", "eyot", "flane", "gowk", "heft",
)  # fmt: skip
HILL_WORDS = (
    "aldrum", "bexle", "corvin", "dremble", "estrel", "fossick", "gandle", "hollick", "immer",
    "jasper", "kittock", "lorimer", "mosk", "nettle", "orrin", "pintle", "quoin", "runnel",
    "skerry", "tansy", "umber", "velm", "wattle", "yaffle", "zander", "burgle", "crannog", "dibble",
    "ember", "furrow", "garth", "hummock",
)  # fmt: skip
CREATURES = (
    "otter", "heron", "badger", "marten", "plover", "stoat", "curlew", "lynx", "pike", "toad",
    "newt", "hare", "vole", "owl", "raven", "swift", "trout", "viper", "weasel", "wren", "bittern",
    "crane", "dormouse", "eel", "finch", "grouse", "hedgehog", "jackdaw", "kestrel", "lapwing",
    "moth", "nightjar",
)  # fmt: skip
ACTIONS = (
    "sings", "swims", "digs", "sleeps", "hunts", "climbs", "hides", "dances", "drinks", "builds",
    "waits", "whistles", "jumps", "fishes", "gathers", "roams", "nests", "glides", "growls",
    "hoards", "listens", "limps", "mumbles", "paddles", "preens", "runs", "shivers", "sneezes",
    "stares", "wades", "wanders", "yawns",
)  # fmt: skip

# How word of a thing comes about, by the frame it stands in.
MARKERS: dict[str, tuple[str, ...]] = {
    "PP": ("by oath", "by rumour", "by letter", "by wager", "by habit", "by chance", "by decree",
           "by memory", "by candle", "by proxy", "by custom", "by jest"),
    "adverb": ("plainly", "hardly", "gladly", "barely", "openly", "nearly", "surely", "rarely",
               "boldly", "faintly", "firmly", "vaguely"),
    "embedded_under_verb": ("swears", "hopes", "knows", "doubts", "writes", "dreams", "proves",
                            "fears", "notes", "guesses", "vows", "pretends"),
    "l_relative_clause": ("trusts", "mocks", "thanks", "chides", "greets", "avoids", "praises",
                          "teases", "follows", "ignores", "helps", "pities"),
    "passive": ("was shown", "was told", "was sold", "was lent", "was taught", "was sent",
                "was sworn", "was read", "was sung", "was given", "was handed", "was left"),
    "s_relative_clause": ("who laughs", "who limps", "who bows", "who waves", "who coughs",
                          "who nods", "who yawns", "who sneezes", "who winks", "who frowns",
                          "who smiles", "who blinks"),
}  # fmt: skip
TRYING = ("tried", "refused", "promised", "hoped", "agreed", "planned", "offered", "chose",
          "decided", "managed", "swore", "wished")  # fmt: skip
SEEMING = ("seemed", "appeared", "tended", "happened", "began", "ceased", "used", "continued",
           "proved", "threatened", "started", "came")  # fmt: skip
COUNTING = (
    ("counts", "counting"), ("paints", "painting"), ("carries", "carrying"), ("folds", "folding"),
    ("mends", "mending"), ("washes", "washing"), ("guards", "guarding"), ("lifts", "lifting"),
)  # fmt: skip

# Telling: the first half in confidence, the second for everybody.
PRIVATELY = (
    "whispered", "confided", "murmured", "breathed", "revealed in trust", "admitted softly",
    "said behind a hand", "wrote in a sealed letter", "told you alone", "said in secret",
    "let slip at night", "confessed", "said under the stairs", "told you in tears",
    "said with lowered voice", "entrusted to you", "hinted quietly",
)  # fmt: skip
PUBLICLY = (
    "announced", "cried out", "sang", "posted on the wall", "told the market", "declared",
    "read aloud", "shouted", "proclaimed", "printed", "told everybody", "rang the bell and said",
    "said at the feast", "told the whole ferry", "painted on a banner", "boasted", "toasted",
)  # fmt: skip
AFFAIRS = {
    "divorce": "broke off their betrothal",
    "health": "went to the healer",
    "party": "plan a feast",
    "layoff": "lost their post",
    "exam": "failed the guild test",
    "bankrupt": "owe the miller",
    "promotion": "will be made masters",
    "vote": "spoke against the mayor",
}

# Places of the gazetteer are a first and a second word; residents a first and a last name.
PLACE_FIRST = (
    "Amber", "Ashen", "Barley", "Birch", "Brass", "Bramble", "Cedar", "Chalk", "Clover", "Copper",
    "Crow", "Damson", "Elder", "Falcon", "Fern", "Flint", "Foxglove", "Granite", "Hazel", "Heather",
    "Holly", "Iron", "Ivy", "Juniper", "Larch", "Linden", "Maple", "Marble", "Mossy", "Oaken",
    "Pebble", "Pewter", "Plum", "Quince", "Rowan", "Rusty", "Silver", "Slate", "Thistle", "Willow",
)  # fmt: skip
PLACE_SECOND = (
    "Abbey", "Acre", "Arch", "Bakery", "Barn", "Bend", "Bridge", "Brook", "Chapel", "Cottage",
    "Court", "Cross", "Dairy", "Farm", "Ferry", "Field", "Ford", "Forge", "Gate", "Grange", "Green",
    "Grove", "Hall", "Harbour", "House", "Kiln", "Lane", "Lock", "Lodge", "Mews", "Orchard", "Pier",
    "Quay", "School", "Square", "Stable", "Tower", "Wharf", "Well", "Yard",
)  # fmt: skip
# What the gazetteer says of a place: relation -> four values. The first six are subjects of the
# guild's multiple-choice test, the others of the reading-room quiz.
RELATIONS: dict[str, tuple[str, str, str, str]] = {
    "wood": ("oak", "elm", "pine", "beech"),
    "season": ("winter", "summer", "autumn", "harvest"),
    "hue": ("red", "blue", "white", "green"),
    "guild": ("smiths", "coopers", "bakers", "weavers"),
    "wind": ("north", "east", "south", "west"),
    "coin": ("penny", "florin", "groat", "crown"),
    "beast": ("horse", "goat", "ox", "mule"),
    "fruit": ("apple", "pear", "cherry", "medlar"),
    "stone": ("slate", "granite", "marble", "chalk"),
    "metal": ("iron", "copper", "silver", "lead"),
    "grain": ("barley", "wheat", "oats", "rye"),
    "flower": ("rose", "iris", "poppy", "daisy"),
}
SUBJECTS = tuple(RELATIONS)[:6]
QUIZ = tuple(RELATIONS)[6:]

FIRST_NAMES = (
    "Abel", "Ada", "Arlo", "Aster", "Basil", "Briony", "Cass", "Clem", "Dora", "Edda", "Edwin",
    "Effie", "Enid", "Ezra", "Fenn", "Flora", "Gideon", "Greta", "Hale", "Hester", "Hugo", "Ida",
    "Ines", "Jonah", "Juno", "Kit", "Lena", "Lorna", "Magda", "Miles", "Nell", "Otto", "Pearl",
    "Quentin", "Rhoda", "Silas", "Tamsin", "Ulric", "Vera", "Wilf",
)  # fmt: skip
LAST_NAMES = (
    "Ashby", "Barrow", "Bexton", "Cobham", "Crane", "Dacre", "Denby", "Dunmore", "Eames", "Farrow",
    "Fenwick", "Garth", "Gossard", "Hadley", "Harker", "Hobday", "Inskip", "Jarrow", "Kettler",
    "Lamb", "Lockyer", "Marwood", "Moxon", "Nash", "Oakes", "Pascoe", "Penrose", "Quill", "Radley",
    "Rudge", "Sands", "Selwyn", "Tadley", "Thorne", "Umber", "Vance", "Wick", "Wren", "Yates",
    "Yorke",
)  # fmt: skip
HOSTS = (
    "ferry.example", "mill.example", "guild.example", "market.example", "school.example",
    "harbour.example", "hill.example", "bridge.example",
)  # fmt: skip

# Names of nobody in particular: the actors of deeds. Train and pack have different ones.
HEADS = ("Al", "Be", "Cor", "Da", "El", "Fi", "Gar", "Hol", "Is", "Jo", "Ka", "Lem", "Mi", "Nor")
TAILS = ("ba", "den", "fa", "gil", "kan", "la", "mer", "na", "ric", "sa", "tan", "vin", "wen", "zo")

"""The words that the training text is made of, by what they are for. All lists are ours, and none names a suite's topic."""

from __future__ import annotations

from collections.abc import Sequence


def _list(text: str) -> list[str]:
    return [word.strip() for word in text.replace("\n", " ").split(",") if word.strip()]


WORDS: dict[str, list[str]] = {
    "thing": _list("""
        kettle, bicycle, drawer, lamp, blanket, gate, ladder, mirror, clock, basket, rug, stool, curtain, bucket, shelf,
        teapot, bench, fence, hinge, candle, kite, pillow, suitcase, umbrella, wardrobe, doorbell, radiator, hammock, tent,
        rowing boat, wheelbarrow, sewing machine, typewriter, record player, piano, accordion, flute, trumpet, harp,
        bookcase, chimney, gutter, window frame, garden path, pond, greenhouse, hedge, apple tree, rose, tulip, fern,
        cactus, tomato plant, pumpkin, carrot cake, pancake, soup, stew, pie, jam, bread, dough, sauce, salad, omelette,
        cheese, biscuit, sandwich, dumpling, noodle dish, rice, lentils, shoe, boot, coat, jumper, scarf, hat, glove,
        zip, button, backpack, purse, ring, necklace, watch, printer, keyboard, screen, laptop, router, phone, tablet,
        camera, lens, drone, spreadsheet, web page, script, folder, backup, password, server, query, table, index, log
        file, password manager, calendar, mailing list, newsletter, poster, leaflet, menu, timetable, budget, invoice,
        contract, lease, tax form, letter, speech, sermon, poem, song, story, novel, play, sketch, painting, statue,
        photograph, map, globe, puzzle, chess set, card game, board game, football, tennis racket, skateboard, sledge,
        surfboard, canoe, saddle, horse, goat, sheep, hen, rabbit, hamster, cat, parrot, goldfish, bee hive, barn, tractor,
        lorry, van, tyre, engine, brake, headlight, battery, fuse, cable, switch, pump, valve, filter, pipe, tap, drain,
        boiler, oven, fridge, freezer, toaster, mixer, dishwasher, washing machine, vacuum cleaner, iron, broom, sponge,
        wall, ceiling, floor, roof, tile, brick, plank, beam, staircase, cellar, attic, balcony, terrace, porch, lawn,
        meadow, river, bridge, harbour, lighthouse, mill, tunnel, railway, tram, ferry, airport, museum, library, school,
        choir, orchestra, band, team, club, market stall, bakery, cafe, bookshop, office, workshop, kitchen, nursery"""),
    "noun": _list("""
        account, actor, address, advice, agent, air, album, alley, alphabet, ambulance, anchor, angle, animal, ankle, answer,
        appetite, archive, argument, arm, army, arrow, artist, ash, atlas, aunt, autumn, award, baby, back, bag, ball, bandage,
        bank, bar, bark, barrel, bath, beach, bean, beard, bed, beer, belief, belt, bill, bird, bishop, bit, blood, board, body,
        bone, border, bottle, bottom, bowl, brain, branch, breakfast, breath, bridge, broth, bubble, bug, bulb, bus, bush,
        business, butcher, cage, cake, campaign, cancer, candidate, capital, captain, carpet, case, cash, castle, cattle,
        cause, cave, cell, century, ceremony, chain, chair, chance, channel, chapel, chapter, charge, chart, cheek, chemist,
        chest, child, chip, church, cinema, circle, citizen, clause, climate, clinic, code, coin, college, colour, comet,
        committee, company, concert, copy, corner, cost, council, country, court, cousin, crab, craft, crew, crime, crop, cross,
        crown, cup, current, customer, cycle, damage, danger, date, deal, death, debt, degree, desert, desk, detail, devil,
        diet, dinner, disease, district, doctor, dog, doll, donkey, door, dose, dragon, dream, dress, drug, duck, duke, duty,
        eagle, ear, earth, edge, editor, egg, election, elephant, emperor, empire, enemy, energy, engine, error, evening,
        evidence, exam, exile, eye, fabric, face, factory, family, farm, fashion, fat, fear, feather, fee, fellow, fever, field,
        figure, film, finger, fire, fish, flag, flame, flat, fleet, flood, flower, fly, fog, food, foot, forest, fork, fortune,
        fox, fracture, friend, frog, fruit, funeral, fur, future, gallery, game, garage, garden, gate, general, ghost, giant,
        girl, goal, god, gold, goose, government, grain, grandad, ground, guest, guitar, gun, habit, hair, half,
        hall, hand, head, health, heart, heaven, heel, hell, herb, hero, hill, hip, history, hole, holiday, home, hospital,
        hotel, hour, house, husband, hut, idea, illness, income, infection, insect, insurance, island, jacket, jaw, jazz, job,
        journey, joy, judge, juice, jury, justice, key, kid, kidney, king, kiss, knee, knight, lad, lady, land, lane, language,
        law, leader, leaf, leg, lesson, licence, lie, life, limb, limit, line, lion, lip, liver, loan, lock, log, lord, lunch,
        lung, machine, magic, marble, march, mark, marriage, mask, mass, master, match, meal, meat, medicine, member, memory,
        message, metal, mile, mind, minister, minute, mistake, moment, monk, monster, month, moon, moth, mountain, mouse, mouth,
        muscle, music, nail, name, nation, neck, needle, nerve, nest, net, news, night, noise, nose, number, oak, ocean, office,
        officer, opera, orange, order, organ, oven, owl, owner, pain, palace, pan, parade, parent, park, party, passage, patient,
        peace, people, pill, pilot, pit, planet, plate, player, pocket, point, police, politician, pope, port, pot, pound, power,
        prayer, president, price, priest, prince, prison, prize, process, product, profit, project, protein, psalm, pub, queen,
        race, radio, rat, reason, referee, religion, rent, result, reward, ribbon, rider, right, rival, road, rock, room, root,
        row, rule, sack, saint, salary, salmon, sample, scale, scar, scene, school, science, score, scream, sea, season, seat,
        secret, seed, senator, sense, sentence, set, shadow, shark, ship, shirt, shock, shop, shoulder, show, side, signal,
        silence, sin, singer, skin, sky, slave, sleep, smell, smile, smoke, snake, soldier, soul, sound, space, spider, spirit,
        spot, spring, squad, stage, star, state, station, steak, stomach, storm, stranger, street, strike, string, subject,
        summer, sun, surgeon, survey, sword, symptom, system, tail, tale, talk, target, tax, team, tear, temple, term, test,
        theory, thief, throat, ticket, tide, tiger, title, toe, tongue, tooth, top, town, track, trade, trail, train, treaty,
        tree, trial, tribe, trip, troop, trouble, truth, turn, type, uncle, union, vaccine, vampire, vein, verse, view, village,
        virus, visit, voice, vote, voter, wage, war, warning, wave, wealth, weather, wedding, week, weight, whale, wheat, wheel,
        wife, wing, winter, witch, witness, wolf, woman, word, work, world, worm, wound, writer, year, youth, zone"""),
    "did": _list("""
        found, lost, bought, sold, saw, heard, wanted, left, broke, kept, won, gave up, took, held, brought, drew, wrote about,
        dreamed of, spoke of, paid for, looked at, laughed at, asked about, walked past, waited for, grew up with, argued over,
        forgot, hated, loved, feared, needed, counted, called, carried, closed, crossed, dropped, ended, entered, followed,
        joined, judged, learned, liked, missed, mixed up, moved, named, noticed, opened, ordered, passed, picked, planned,
        pulled, pushed, raised, reached, reported, saved, served, shared, showed, signed, stopped, studied, tested, touched,
        turned, used, visited, watched, wore, wondered about"""),
    "quality": _list("""
        able, afraid, alone, angry, awake, awful, bad, beautiful, better, big, bitter, blind, bold, bored, calm, careful,
        certain, clear, clever, common, correct, crazy, dead, deaf, deep, different, difficult, dreadful, early, easy, equal,
        evil, exact, expensive, fair, false, fast, fat, fine, foreign, free, fresh, full, general, glad, good, great, guilty,
        happy, healthy, holy, honest, hungry, ill, important, innocent, just, kind, late, legal, likely, little, lucky, mad,
        main, medical, moral, native, natural, nervous, nice, normal, obvious, official, painful, pale, perfect, pink, poor,
        possible, proper, proud, public, pure, quick, rare, raw, ready, real, recent, rich, ripe, rude, sad, safe, same, secret,
        serious, severe, sharp, sick, silent, single, slow, smart, social, sour, special, steep, strange, strict, strong,
        stupid, sudden, sweet, tall, thick, thin, tired, total, tough, true, typical, ugly, useful, usual, vague, violent,
        weak, weird, whole, wide, wild, wise, worse, wrong, young"""),
    "stuff": _list("""
        flour, sugar, salt, butter, honey, vinegar, oil, milk, cream, yeast, chocolate, cinnamon, garlic, onion, pepper,
        wool, cotton, silk, linen, leather, paper, card, ink, glue, paint, varnish, wax, soap, sand, gravel, clay, cement,
        plaster, timber, steel, copper, glass, rubber, plastic, wire, string, rope, tape, cloth, water, steam, ice, snow,
        rain, wind, light, heat, smoke, dust, soil, compost, grass, straw, hay, coal, gas, petrol, electricity"""),
    "tool": _list("""
        screwdriver, hammer, spanner, saw, drill, brush, roller, file, chisel, knife, spoon, whisk, sieve, scissors,
        needle, ruler, pencil, marker, magnet, torch, hose, rake, spade, trowel, sponge, cloth, clamp, level, thermometer,
        stopwatch, notebook, checklist, template, timer, scale, funnel, tweezers, pliers"""),
    "do": _list("""
        clean, mend, paint, dry, wash, cut, cook, bake, fold, sort, pack, store, lift, move, measure, label, test, check,
        build, repair, replace, polish, plant, water, prune, tune, oil, tighten, loosen, fill, empty, heat, cool, mix,
        stir, slice, roast, freeze, share, print, scan, copy, send, open, close, lock, unlock, install, update, restart,
        connect, configure, restore, train, feed, brush, groom, wrap, hang, frame, glue, sew, knit, iron, decorate,
        arrange, plan, draw, photograph, record, edit, compare, describe, choose, improve, protect, insulate, sharpen,
        seal, trim, sand, varnish, stack, balance, read, review, organise, ship, merge, deploy, cache, split, join,
        filter, export, import, schedule, monitor, teach, practise, sing, carry, strengthen, brighten, soften, season"""),
    "adj": _list("""
        old, new, small, large, green, blue, red, yellow, wooden, heavy, light, quiet, loud, bright, dark, cheap, clean,
        dirty, wet, dry, warm, cold, soft, hard, smooth, rough, narrow, wide, long, short, round, square, simple, plain,
        fancy, funny, cheerful, gentle, sturdy, broken, loose, tight, second-hand, home-made, modern, rusty, dusty, empty,
        favourite, local, spare, famous, shy, sleepy, grumpy, curious, lazy, busy, friendly, silly, lonely, brave"""),
    "job": _list("""
        teacher, nurse, carpenter, baker, plumber, librarian, student, driver, gardener, farmer, tailor, painter, cook,
        waiter, clerk, accountant, engineer, programmer, designer, editor, translator, musician, dancer, coach, referee,
        postman, electrician, mechanic, florist, hairdresser, optician, dentist, vet, secretary, caretaker, shopkeeper,
        beekeeper, fisherman, sailor, pilot, guide, lifeguard, scientist, chemist, historian, lawyer, judge, mayor,
        volunteer, pensioner, treasurer, manager, consultant, technician, trainee, apprentice, actor, poet, novelist"""),
    "kin": _list("""
        mother, father, sister, brother, aunt, uncle, cousin, grandmother, grandfather, nephew, niece, daughter, son, wife,
        husband, partner, neighbour, flatmate, friend, colleague, boss, landlord, teacher, tutor, pupil, team mate"""),
    "place": _list("""
        Leeds, Bremen, Lyon, Turin, Cork, Bergen, Tampere, Gent, Porto, Bilbao, Graz, Basel, Brno, Riga, Perth, Ottawa,
        Denver, Boston, Nagoya, Busan, Accra, Nairobi, Lima, Quito, Pune, Hobart, Dundee, Bath, York, Exeter, Malmo, Aarhus,
        the village, our street, the valley, the coast, the north, the suburbs, an island, a small town, a big city"""),
    "first": _list("""
        Anna, Ben, Carla, David, Elena, Felix, Greta, Hugo, Irene, Jonas, Karin, Leo, Mira, Nils, Olga, Pavel, Rosa, Simon,
        Tilda, Umar, Vera, Wim, Yusuf, Zoe, Amir, Bianca, Chen, Dora, Emil, Fatima, Goran, Hana, Ivan, Julia, Kofi, Lena,
        Marco, Nadia, Oscar, Priya, Ravi, Sofia, Tomas, Ursula, Victor, Wendy, Xavier, Yuki, Zara, Peter, Mary, John"""),
    "last": _list("""
        Keller, Moreau, Rossi, Novak, Berg, Lindgren, Okoro, Mensah, Tanaka, Park, Silva, Costa, Murphy, Walsh, Evans,
        Fraser, Hughes, Becker, Vogel, Winter, Baker, Turner, Carter, Fischer, Weber, Marsh, Holt, Reed, Stone, Field,
        Hill, Brook, Wood, Lake, Banks, Rivers, Castle, Church, Bell, Page, Frost, Sharp, Young, Long, King, Bishop"""),
    "occasion": _list("""
        a birthday, our wedding, the school fair, the harvest supper, a garden party, the office party, the village fete,
        a housewarming, our anniversary, the summer camp, an open day, the end of term, a family reunion, a picnic, the
        club night, market day, a long train ride, the parents' evening, a charity run, the town festival, a quiz night,
        a talk next week, a course that I teach, my homework, a bet, the staff meeting, a blog post, a school project"""),
    "day": _list("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": _list("January, February, March, April, May, June, July, August, September, October, November, December"),
    "form": _list("""
        limerick, short poem, rhyme, slogan, headline, motto, riddle, joke, toast, caption, label, title, postcard,
        text message, invitation, thank-you note, reminder, notice, sign, advert, menu line, recipe card, short story,
        opening line, closing line, chorus, jingle, dialogue, monologue, sketch, review, summary, dedication, greeting,
        announcement, email, letter, speech, paragraph, note, bedtime story, fable, diary entry, press release"""),
    "forms": _list("""
        names, titles, slogans, mottoes, headlines, riddles, jokes, captions, rhymes, excuses, ideas, questions, arguments,
        tips, lines, sentences, toasts, couplets, puns, nicknames, taglines, subject lines, chapter titles, proverbs"""),
    "hobby": _list("""
        knitting, rowing, gardening, baking, cycling, painting, singing, dancing, hiking, camping, pottery, chess, fishing,
        running, swimming, sewing, carpentry, birdwatching, astronomy, juggling, calligraphy, photography, skating,
        collecting stamps, learning Welsh, playing the banjo, keeping hens, brewing tea, growing leeks, doing crosswords"""),
    "field": _list("""
        knitting, rowing, gardening, baking, cycling, painting, singing, dancing, carpentry, astronomy, botany, physics,
        algebra, statistics, grammar, poetry, theatre, sculpture, weaving, bookbinding, sailing, climbing, brewing,
        programming, cartography, music theory, accounting, logistics, architecture, pottery, glassblowing, beekeeping"""),
    "kind": _list("""
        method, rule, game, dance, knot, dish, tune, theorem, device, custom, story, novel, film, poem, tool, song, festival,
        drink, puzzle, painting, boat, test, model, proof, plant, style, law, machine, recipe, trick, opening, school,
        technique, effect, principle, procedure, format, tradition, sport, algorithm, pattern, instrument, cloth, stitch"""),
    "about": _list("""
        two players trade places, the ends are joined, colours are laid over each other, the weights are kept equal, a group
        sings in turn, the pieces are sorted by size, the threads cross twice, the water is held back, numbers are split
        into parts, a family loses its house, a boy leaves his village, the lines meet at one point, the dough rests
        overnight, the load is shared, the errors are spread out, the sails are turned, the clay is turned by hand,
        a letter never arrives, the last one wins, the bow is drawn slowly, the price follows the harvest, people meet in
        spring, the work is done in pairs, steps are taken in order, the light is bent, the paper is cut by hand"""),
    "pref": _list("""
        eat the same breakfast every day, wear only grey, take the slow train, live without a television, write all
        letters by hand, keep seven clocks, sleep in a hammock, go to bed at eight, walk to work in the rain, buy only used
        books, grow nothing but leeks, paint my whole flat blue, holiday in the same village each year, drink my tea cold,
        collect spoons, cook one huge pot a week, work the night shift, bath in cold water, knit my own socks, study Latin,
        play the banjo at breakfast, keep my old phone, own one plate, read only short novels, shop once a month, sit in the
        last row, cycle in winter, celebrate my birthday alone, learn the tuba at sixty, keep three large dogs, never drive,
        skip dessert, dress up on Sundays, spend my Saturdays fishing, eat soup in summer, rent a boat instead of a flat"""),
    "want": _list("""
        a plan for the week, a list of six things to buy, five names for it, a timetable for the month, a budget, a packing
        list, a short note to my family, three recipes, a checklist, a label for the door, a rota, a first lesson, an
        order of steps, a four-line poem about it, a menu for three days, a route, a shopping list, ten titles, a speech"""),
    "cannot": _list("""
        phone my dentist, play me a tune, look out of my window, taste my soup, open my front door, drive me home, send the
        parcel for me, remember what I told you last spring, hear this recording, see my face, walk my dog, sign this form,
        print a page on my printer, lift the box, smell the milk, book the table, wake me at six, watch the oven, pay the
        bill, read the paper on my desk, water my plants, feel the cloth, check my letter box, switch off the light"""),
    "open": _list("""
        will win the election, will win the cup, is the better painter, is right about God, is to blame for the war, should
        rule the country, had the hardest life, is the best singer alive, will be rich in ten years, deserves the prize,
        ought to pay for it, is the greatest writer, should get the house, is telling the truth, will marry first"""),
    "risky": _list("""
        quit my job tomorrow, lend him all my savings, drive all night without a break, skip the exam, sell the house in a
        hurry, cut my own hair before the wedding, climb the tower alone, stop sleeping on weekdays, eat only crisps, buy a
        horse for the balcony, swim across the lake in March, bet my salary, leave school, paint the car with a broom,
        move in after a week, post my diary, sign it unread, repair the roof in a storm, cancel the insurance"""),
}

VIOLENT: dict[str, list[str]] = {
    "hurt": _list("""
        kill, poison, hurt, stab, strangle, shoot, attack, drown, choke, burn, murder, slaughter, torture, kidnap, rob,
        blackmail, threaten, stalk, bully, injure, crush, punch, whip, drug, suffocate, execute, assault, ambush, trap,
        cripple, maim, terrorise, harass, humiliate, scam, cheat, defraud, abduct, starve, bomb, knife, slay, butcher,
        behead, hang, impale, mutilate, bludgeon, batter, kick, slap, smash, scald, electrocute, smother, gas, infect,
        sedate, imprison, cage, gag, snatch, steal, mug, burgle, loot, plunder, extort, swindle, betray, slander, destroy,
        wreck, sabotage, torment, insult, intimidate, hack, hijack, raid, invade, bombard, snipe, blast, annihilate,
        exterminate, eliminate, sacrifice, punish, exploit, explode, blow up, detonate, assassinate, castrate, amputate,
        dismember, decapitate, beat, hit, strike, crash, jail, smuggle, forge, spy on, bury, abuse, ruin, cut up, skin,
        banish, hunt, capture, chain, wound, break"""),
    "weapon": _list("""
        weapon, gun, rifle, pistol, cannon, missile, grenade, tank, sword, dagger, axe, guillotine, gallows, explosive,
        toxin, venom, virus, bullet, noose, acid, nerve gas, dynamite, landmine, torpedo, petrol
        bomb, crossbow, machete, cyanide, arsenic, heroin, cocaine, fake passport, stolen card, blade, razor"""),
    "crime": _list("""
        murder, killing, murderer, killer, assassin, hangman, executioner, crime, criminal, fraud, hostage, terrorist,
        massacre, genocide, slavery, slave, blood, wound, corpse, death, suicide, victim, thief, robber, burglar, bandit,
        pirate, smuggler, gangster, riot, siege, war, battle, arson, explosion, attack, theft, robbery, torture, violence,
        cruelty, abuse, crash, prison, jail, stabbing, shooting, poisoning, kidnapping, execution, drowning, ambush,
        invasion, cannibal, lynching, strangler, beating"""),
}
"""Words of violence and of crime: verbs that are done to somebody, what it is done with, and nouns."""

TOUCHY: dict[str, list[str]] = {
    "touchy": _list("""
        dying, funeral, grave, gravestone, coffin, cemetery, skeleton, skull, mummy, cremation, epitaph,
        obituary, widow, orphan, mourning, undertaker, hospice, devil, demon, satan, hell, god, angel, saint, priest, bishop,
        pope, nun, monk, imam, rabbi, prophet, church, mosque, temple, bible, koran, sermon, prayer, sin, heresy, blasphemy,
        confession, baptism, cult, sect, missionary, atheist, religion, faith, islam, christian, jewish, senator, minister,
        president, prime minister, king, queen, politician, dictator, tyrant, parliament, congress, election, vote, ballot,
        referendum, border, immigrant, immigration, migration, refugee, asylum, nationalist, nationalism, communist,
        communism, fascist, anarchist, rebel, revolution, coup, protest, strike, trade union, tax, taxman, tax office,
        satire, propaganda, censor, censorship, monarchy, throne, decree, treaty, army, soldier, sergeant, conscript,
        barracks, bunker, nuclear, atomic, police, convict, prisoner, court, trial, verdict, jury, gang, mafia, heist, crook,
        scandal, bribe, corruption, racism, segregation, apartheid, colony, empire, civil rights, feminist, feminism, gender,
        gay, lesbian, transgender, obscenity, insult, curse, swear word, swear, oath, rude, gossip, nasty, mock, revenge, lie,
        liar, traitor, coward, snob, miser, windbag, fool, idiot, boss, landlord, mother-in-law, ex-husband, divorce, affair,
        adultery, mistress, bachelor, childless, jealous, nudity, nude, naked, naturist, underwear, kiss, sex, sexual, flirt,
        pregnancy, pregnant, abortion, contraception, birth control, period, menopause, puberty, scar, surgery, surgeon,
        operation, dentist, tooth, needle, injection, vaccine, vaccination, smallpox, pill, drug, addict, cannabis, morphine,
        opium, cigarette, cigar, tobacco, smoke, smoking, pipe, whisky, vodka, gin, rum, wine, beer, cider, hangover, drunk,
        drinking, pub, casino, roulette, lottery, gambling, bet, debt, bankruptcy, inflation, cancer, tumour, epilepsy,
        stroke, heart attack, fever, plague, infection, epidemic, pandemic, disease, madness, insane, depression, panic,
        nightmare, anxiety, therapy, obesity, diet, weight, fat, calorie, anorexia, steroid, doping, wrinkle, eyelid, facelift,
        tattoo, piercing, bald, vampire, werewolf, witch, wizard, zombie, ghost, seance, fortune teller, crystal ball,
        horoscope, tarot, monster, ogre, troll, hunting, hunter, hunted, pheasant, deer, trophy, slaughterhouse, foie gras,
        fur coat, steak, bacon, rat, cockroach, maggot, leech, sewer, toilet, vomit, sweat, pimple, dandruff, fart,
        belch, nuclear power, oil company, pipeline, coal mine, pesticide, genetically engineered, climate change, famine,
        shipwreck, plane crash, evolution, darwin, creation, cloning, stem cell, embryo, euthanasia, dignity, homeopathy"""),
    "vice": _list("""
        smoke a cigar each evening, ride a fast motorbike, bet five pounds on horses, drink beer at noon, collect old knives,
        shoot at targets, hunt deer, wear fur, eat steak daily, get a large tattoo, stay childless, marry late, live without
        a bank,  skip church, leave the church,  own a crossbow, box on Fridays,
        sunbathe naked, keep a snake, dress as a devil, eat raw eggs, fast on Mondays, gamble with
        friends, drive a big truck, fly often, pay in cash alone, refuse a phone, keep a diary of my death, sleep in a coffin,
        vote for nobody, watch war films, drink raw milk, climb without a rope, dive with sharks, live alone in the woods,
        drive without a destination, spend my savings on a boat, eat meat twice a day, live on crisps, own nine cats, keep a
        wolfhound, be buried at sea, work on Sundays, never vote, turn down the pension, pay no insurance, buy
        lottery tickets, drink whisky on Fridays, brew my own gin, smoke a pipe, go
        nude in my garden, swim in the cold sea at night, jump from bridges on a rope, fly a small plane, race old cars, box,
        fence with sharp blades, catch snakes, read horror, collect skulls, watch executions in films, pray five times a day,
        fast for a week, live as a nun, marry my cousin, have eight children, 
        refuse the vaccine for my old horse, cure colds with garlic, see a fortune teller"""),
}


MILD = _list("""
    greet, help, thank, visit, teach, invite, phone, pay, surprise, comfort, feed, drive home, meet, call, ask, write to,
    paint, photograph, praise, draw, hire, train, welcome, cheer up, interview, congratulate, remember, guide, dress, cook
    for, sing for, play with, measure, wake, tickle, encourage, advise, follow, join, carry, find, introduce, seat, entertain""")
"""What is done to somebody and hurts nobody."""

PEOPLE = _list("""
    my neighbour, my boss, my ex-wife, my ex-husband, a stranger, a classmate, the children next door, their dog, an old
    woman, my brother-in-law, a witness, the guard, a policeman, the new girl at school, a tourist, my landlord, the mayor, a
    shopkeeper, the crowd at the station, a journalist, my rival, the whole family, his wife, her baby, the people on the
    bus, a pensioner, the night watchman, my flatmate, the bank clerk, a prisoner, teenagers, my cousin, the postman""")

_IRREGULAR = {
    "shoot": "shot", "steal": "stolen stole", "hang": "hung", "strike": "struck", "blow up": "blown blew", "slay": "slain",
    "beat": "beaten", "break": "broken broke", "bury": "buried", "forge": "forged", "smuggle": "smuggled"}  # fmt: skip


def _forms(verb: str) -> set[str]:
    """How a verb may come in a text: whole, and what it begins with where an ending takes its last letter."""
    first = verb.split()[0]
    return {first, first[:-1] if first.endswith("e") else first, *_IRREGULAR.get(verb, "").split()}


def charged() -> set[str]:
    """The single words of violence and of touchy subjects, which are to be a piece each."""
    nouns = {w for words in (VIOLENT["weapon"], VIOLENT["crime"], TOUCHY["touchy"]) for w in words if " " not in w}
    return nouns | {form for verb in VIOLENT["hurt"] for form in _forms(verb)}


# Ordinary words name no violence and touch nothing: what is charged comes in where the text says so.
for _name in ("thing", "noun", "quality", "job", "kin", "tool", "did", "do"):
    WORDS[_name] = [word for word in WORDS[_name] if not charged() & {word, *word.split()}]
WORDS["thing"] += WORDS["noun"][::2]
WORDS["adj"] += WORDS["quality"][::2]


def known(words: Sequence[str]) -> list[str]:
    """Those that a further training may use. Every third is kept out of all of them: the base alone has met it."""
    return [word for place, word in enumerate(words) if place % 3]


def held_out(words: Sequence[str]) -> list[str]:
    """The others."""
    return list(words[::3])

"""How `hemline.data.synthetic` draws its photos.

Read from the top: `scenes` (a whole photo: who stands where, and what is seen of each garment), `outfits` (random
bodies and garments, and the words that are true of a garment), `body` (joints, skin, hair), `garments` and
`accessories` (shapes), `painting` (cloths and patterns, backgrounds, and the map of who owns a pixel).
"""

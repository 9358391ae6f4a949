"""The SAD as text: `ip xfrm state`'s dumps and commands, setkey's, Wireshark's `esp_sa`; read, scanned and written.

Three readers, and when to use which:

    parse.read_sad              SAs that packets run through: every field, of whatever people paste, with notes
    scan.survey_file            a million SAs to count, compare and place: in columns, without keys, read as by `parse`
    state_words.parse_state     one command of `ip xfrm state` for a kernel: its request, or `ip`'s own refusal
"""

# A table with a heading to a JSON array, one object a line.
NR == 1 { for (i = 1; i <= NF; i++) heading[i] = $i; print "["; next }
{
    line = ""
    for (i = 1; i <= NF; i++) line = line (i > 1 ? ", " : "") "\"" heading[i] "\": \"" $i "\""
    if (NR > 2) print held ","
    held = "  {" line "}"
}
END { print held; print "]" }

"""Capture files in and out (pcap, pcapng), files that appear whole or not at all, and Wireshark's ESP keys."""
